package claims

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// errNoJSON ends a scan.
var errNoJSON = errors.New("no JSON")

// The most bytes of a name and of a number that a scan keeps in memory.
const (
	maxName   = 256
	maxNumber = 64
)

// scanner searches a field in a JSON object. Unlike json.Decoder it does not keep the
// values that it skips, since a body may have texts of many megabytes. It checks only what
// it needs, since the backend parses the body again.
type scanner struct {
	*bufio.Reader
	largest float64
	found   bool
}

// largest returns the largest number at a path of an object, and reports false if there is
// none.
func largest(body io.Reader, path []string) (float64, bool) {
	s := &scanner{Reader: bufio.NewReader(body)}
	if c, err := s.token(); err != nil || c != '{' {
		return 0, false
	}
	_ = s.object(path) // numbers before an error count
	return s.largest, s.found
}

// token returns the next byte that is no space.
func (s *scanner) token() (byte, error) {
	for {
		c, err := s.ReadByte()
		if err != nil || (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
			return c, err
		}
	}
}

// object reads the rest of an object, and looks for fields with the first name in path.
func (s *scanner) object(path []string) error {
	for {
		c, err := s.token()
		switch {
		case err != nil || c == '}':
			return err
		case c == ',':
			continue
		case c != '"':
			return errNoJSON
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if c, err = s.token(); err != nil || c != ':' {
			return errors.Join(err, errNoJSON)
		}
		if name == path[0] {
			err = s.value(path[1:])
		} else {
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

// value reads a value on the path. rest are the names below the value.
func (s *scanner) value(rest []string) error {
	c, err := s.token()
	switch {
	case err != nil:
		return err
	case c == '{' && len(rest) > 0:
		return s.object(rest)
	case len(rest) == 0 && (c == '-' || (c >= '0' && c <= '9')):
		return s.number(c)
	}
	return s.skipFrom(c)
}

// number reads the rest of a number. A number that is too large is infinite.
func (s *scanner) number(first byte) error {
	text := []byte{first}
	for {
		c, err := s.ReadByte()
		if err != nil {
			return err // it may go on
		}
		if !isNumber(c) {
			_ = s.UnreadByte()
			break
		}
		if text = append(text, c); len(text) > maxNumber {
			return errNoJSON
		}
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return errNoJSON
	}
	if !s.found || n > s.largest {
		s.largest, s.found = n, true
	}
	return nil
}

func isNumber(c byte) bool {
	return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// name reads the rest of a field's name. It returns an empty name for one that is too long
// for any path.
func (s *scanner) name() (string, error) {
	text := []byte{'"'}
	for {
		c, err := s.ReadByte()
		if err != nil {
			return "", err
		}
		if len(text) > maxName {
			if c == '\\' {
				_, err = s.ReadByte()
			} else if c == '"' {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			continue
		}
		text = append(text, c)
		if c == '\\' {
			if c, err = s.ReadByte(); err != nil {
				return "", err
			}
			text = append(text, c)
			continue
		}
		if c == '"' {
			break
		}
	}
	var name string
	if json.Unmarshal(text, &name) != nil {
		return "", errNoJSON
	}
	return name, nil
}

// skip passes a value.
func (s *scanner) skip() error {
	c, err := s.token()
	if err != nil {
		return err
	}
	return s.skipFrom(c)
}

// skipFrom skips the rest of a value that begins with c. It does not recurse, since clients
// can nest values arbitrarily deep.
func (s *scanner) skipFrom(c byte) (err error) {
	for depth := 0; ; {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			err = s.text()
		}
		if err != nil {
			return err
		}
		if depth <= 0 {
			return s.literal(c)
		}
		if c, err = s.ReadByte(); err != nil {
			return err
		}
	}
}

// text passes the rest of a text.
func (s *scanner) text() error {
	escaped := false
	for {
		part, err := s.ReadSlice('"')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		ends := err == nil
		if ends {
			part = part[:len(part)-1]
		}
		escaped = endsEscaped(part, escaped)
		if ends && !escaped {
			return nil
		}
		if ends {
			escaped = false // the quote was escaped
		}
	}
}

// endsEscaped reports whether the byte after part is escaped. escaped says so for the first
// byte of part.
func endsEscaped(part []byte, escaped bool) bool {
	n := 0
	for n < len(part) && part[len(part)-1-n] == '\\' {
		n++
	}
	if n == len(part) && escaped {
		n++
	}
	return n%2 == 1
}

// literal skips the rest of a number, or of true, false or null, after its first byte.
func (s *scanner) literal(c byte) error {
	switch c {
	case '}', ']', '"':
		return nil
	case '{', '[', ',', ':':
		return errNoJSON
	}
	for {
		c, err := s.ReadByte()
		if err != nil {
			return err
		}
		if c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t' {
			return s.UnreadByte()
		}
	}
}
