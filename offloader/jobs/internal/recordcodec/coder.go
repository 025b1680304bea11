package recordcodec

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrMalformed is returned for bytes that are not a record.
var ErrMalformed = errors.New("malformed record")

// coder writes or reads the fields of a message. A field is its tag, its length and its bytes.
// A message has its fields in the order of their tags, so one list of fields serves both
// directions. A reader skips tags that it has no field for.
type coder struct {
	decoding bool
	buf      []byte // written so far, or still to be read
	err      error
}

// put writes a field.
func (c *coder) put(tag uint64, value []byte) {
	c.buf = binary.AppendUvarint(c.buf, tag)
	c.buf = binary.AppendUvarint(c.buf, uint64(len(value)))
	c.buf = append(c.buf, value...)
}

// take reads the next field if it has this tag.
func (c *coder) take(tag uint64) ([]byte, bool) {
	for c.err == nil && len(c.buf) > 0 {
		got, n := binary.Uvarint(c.buf)
		if n <= 0 {
			c.err = ErrMalformed
			break
		}
		if got > tag {
			break
		}
		size, m := binary.Uvarint(c.buf[n:])
		if m <= 0 || size > uint64(len(c.buf)-n-m) {
			c.err = ErrMalformed
			break
		}
		value := c.buf[n+m : n+m+int(size)]
		c.buf = c.buf[n+m+int(size):]
		if got == tag {
			return value, true
		}
	}
	return nil, false
}

// signed reads a number that fills all of b.
func (c *coder) signed(b []byte) int64 {
	v, n := binary.Varint(b)
	if n <= 0 || n != len(b) {
		c.err = ErrMalformed
	}
	return v
}

func text[T ~string](c *coder, tag uint64, p *T) {
	if c.decoding {
		if b, ok := c.take(tag); ok {
			*p = T(b)
		}
	} else if *p != "" {
		c.buf = binary.AppendUvarint(c.buf, tag)
		c.buf = binary.AppendUvarint(c.buf, uint64(len(*p)))
		c.buf = append(c.buf, *p...)
	}
}

func number[T ~int | ~int64 | ~uint8](c *coder, tag uint64, p *T) {
	if c.decoding {
		if b, ok := c.take(tag); ok {
			v := c.signed(b)
			if *p = T(v); int64(*p) != v {
				c.err = ErrMalformed
			}
		}
	} else if *p != 0 {
		var b [binary.MaxVarintLen64]byte
		c.put(tag, b[:binary.PutVarint(b[:], int64(*p))])
	}
}

func (c *coder) flag(tag uint64, p *bool) {
	if c.decoding {
		if _, ok := c.take(tag); ok {
			*p = true
		}
	} else if *p {
		c.put(tag, nil)
	}
}

func (c *coder) hash(tag uint64, p *[32]byte) {
	if c.decoding {
		if b, ok := c.take(tag); ok && copy(p[:], b) != len(p) {
			c.err = ErrMalformed
		}
	} else if *p != [32]byte{} {
		c.put(tag, p[:])
	}
}

// moment keeps the time without its zone.
func (c *coder) moment(tag uint64, p *time.Time) {
	if !c.decoding {
		if !p.IsZero() {
			var b [2 * binary.MaxVarintLen64]byte
			n := binary.PutVarint(b[:], p.Unix())
			n += binary.PutUvarint(b[n:], uint64(p.Nanosecond()))
			c.put(tag, b[:n])
		}
		return
	}
	if b, ok := c.take(tag); ok {
		seconds, n := binary.Varint(b)
		if n <= 0 {
			c.err = ErrMalformed
			return
		}
		nanoseconds, m := binary.Uvarint(b[n:])
		if m <= 0 || nanoseconds >= uint64(time.Second) {
			c.err = ErrMalformed
			return
		}
		*p = time.Unix(seconds, int64(nanoseconds)).UTC()
	}
}

// message is a field that has fields.
func message[T any](c *coder, tag uint64, p *T, fields func(*coder, *T)) {
	if c.decoding {
		if b, ok := c.take(tag); ok {
			decodeInto(c, b, p, fields)
		}
		return
	}
	start := len(c.buf)
	fields(c, p)
	size := len(c.buf) - start
	var head [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(head[:], tag)
	n += binary.PutUvarint(head[n:], uint64(size))
	c.buf = append(c.buf, head[:n]...)
	copy(c.buf[start+n:], c.buf[start:start+size])
	copy(c.buf[start:], head[:n])
}

func decodeInto[T any](c *coder, b []byte, p *T, fields func(*coder, *T)) {
	inner := coder{decoding: true, buf: b}
	fields(&inner, p)
	inner.take(1 << 62) // sees whether the rest is well-formed
	if inner.err != nil {
		c.err = inner.err
	}
}

// optional is a message that may be missing.
func optional[T any](c *coder, tag uint64, p **T, fields func(*coder, *T)) {
	if !c.decoding {
		if *p != nil {
			message(c, tag, *p, fields)
		}
		return
	}
	if b, ok := c.take(tag); ok {
		*p = new(T)
		decodeInto(c, b, *p, fields)
	}
}

// list is a message that may be there several times.
func list[T any](c *coder, tag uint64, p *[]T, fields func(*coder, *T)) {
	if !c.decoding {
		for i := range *p {
			message(c, tag, &(*p)[i], fields)
		}
		return
	}
	for {
		b, ok := c.take(tag)
		if !ok {
			return
		}
		var one T
		decodeInto(c, b, &one, fields)
		*p = append(*p, one)
	}
}
