package sealed

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// SegmentSize is how many bytes of a file are encrypted together: what a reader of one byte
// decrypts.
const SegmentSize = 64 << 10

const (
	magic       = "OFS1"
	headSize    = 64 // magic, ID of the key, random bytes to the end
	segmentRoom = SegmentSize + overhead
)

// additional authenticates that a segment belongs to this file, at this place, and whether it
// is the last one.
func additional(head []byte, number int64, last bool) []byte {
	b := binary.BigEndian.AppendUint64(bytes.Clone(head), uint64(number))
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// Writer encrypts a file. One goroutine writes, and any number may read.
type Writer struct {
	f    *os.File
	key  *keyed
	head []byte

	mu      sync.RWMutex
	full    int64  // segments in the file that do not change
	pending []byte // the last segment: more bytes may follow
}

// NewWriter begins an empty file.
func (k *Keys) NewWriter(f *os.File) (*Writer, error) {
	head := make([]byte, headSize)
	n := copy(head, magic)
	head[n] = byte(len(k.current.id))
	n += 1 + copy(head[n+1:], k.current.id)
	rand.Read(head[n:])
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	return &Writer{f: f, key: k.current, head: head}, nil
}

// Write appends bytes. The last segment stays in memory until Flush.
func (w *Writer) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		if len(w.pending) == SegmentSize {
			if err := w.put(false); err != nil {
				return n, err
			}
			w.full++
			w.pending = w.pending[:0]
		}
		part := p[:min(len(p), SegmentSize-len(w.pending))]
		w.pending = append(w.pending, part...)
		p = p[len(part):]
		n += len(part)
	}
	return n, nil
}

// Flush writes the last segment to the file, as the end of it. Writing may go on.
func (w *Writer) Flush() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.put(true)
}

func (w *Writer) put(last bool) error {
	segment := w.key.seal(nil, w.pending, additional(w.head, w.full, last))
	_, err := w.f.WriteAt(segment, headSize+w.full*segmentRoom)
	return err
}

// ReadAt reads bytes that were written.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return readSegments(p, off, w.full*SegmentSize+int64(len(w.pending)), func(number int64) ([]byte, error) {
		if number == w.full {
			return w.pending, nil
		}
		return readSegment(w.f, w.key, w.head, number, false)
	})
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// Reader decrypts a complete file. Any number of goroutines may read.
type Reader struct {
	f    *os.File
	key  *keyed
	head []byte
	size int64
	last int64 // number of the last segment

	mu     sync.Mutex
	number int64 // of the segment in cache, negative: none
	cache  []byte
}

// NewReader opens a file that was written by a Writer, and ended by Flush. It closes the file
// with the Reader.
func (k *Keys) NewReader(f *os.File) (*Reader, error) {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, headSize), head); err != nil || string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: '%s' has no head", ErrForged, f.Name())
	}
	key, _, err := k.find(head[len(magic):])
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sealed := info.Size() - headSize
	last := max(0, sealed-1) / segmentRoom
	size := sealed - (last+1)*overhead
	if size < 0 {
		return nil, fmt.Errorf("%w: '%s' is too short", ErrForged, f.Name())
	}
	r := &Reader{f: f, key: key, head: head, size: size, last: last, number: -1}
	if _, err := r.segment(last); err != nil { // a file that was cut has another end
		return nil, err
	}
	return r, nil
}

// Size returns the number of bytes.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

// ReadAt reads bytes at an offset.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	return readSegments(p, off, r.size, r.segment)
}

// segment keeps the last segment that was read: the next read often continues in it.
func (r *Reader) segment(number int64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.number == number {
		return r.cache, nil
	}
	plain, err := readSegment(r.f, r.key, r.head, number, number == r.last)
	if err == nil {
		r.number, r.cache = number, plain
	}
	return plain, err
}

func readSegment(f *os.File, key *keyed, head []byte, number int64, last bool) ([]byte, error) {
	segment := make([]byte, segmentRoom)
	n, err := f.ReadAt(segment, headSize+number*segmentRoom)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	plain, err := key.open(segment[nonceSize:nonceSize], segment[:n], additional(head, number, last))
	if err != nil {
		return nil, fmt.Errorf("%w: segment %d of '%s'", err, number, f.Name())
	}
	return plain, nil
}

// readSegments reads from as many segments as p needs.
func readSegments(p []byte, off, size int64, segment func(int64) ([]byte, error)) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	for n < len(p) {
		if off >= size {
			return n, io.EOF
		}
		plain, err := segment(off / SegmentSize)
		if err != nil {
			return n, err
		}
		if int64(len(plain)) <= off%SegmentSize {
			return n, io.ErrUnexpectedEOF
		}
		part := copy(p[n:], plain[off%SegmentSize:])
		n += part
		off += int64(part)
	}
	return n, nil
}
