package resource

import (
	"fmt"
	"strconv"
	"strings"
)

// span is a part of a result: the bytes from first up to last.
type span struct {
	first int64
	last  int64 // included
	// end: the client has asked for the bytes from first to the end; last is not known.
	end bool
}

// asked is the only range of a field Range.
type asked struct {
	span
	suffix int64 // the last bytes are wanted, that many, if it is not negative
}

// manyBytes is a last position that no result has. A client that asks for the bytes up to
// such a position wants all that are still to come (RFC 8673).
const manyBytes = 100e9

// parseRange reads a field with one range of bytes. All others are ignored, as clients must
// expect (RFC 9110, section 14.2).
func parseRange(field string) (a asked, ok bool) {
	unit, text, ok := strings.Cut(field, "=")
	if !ok || strings.ToLower(unit) != "bytes" || strings.Contains(text, ",") {
		return asked{}, false
	}
	first, last, ok := strings.Cut(strings.Trim(text, " \t"), "-")
	if !ok || first == "" && last == "" {
		return asked{}, false
	}
	a.suffix = -1
	if first == "" {
		a.suffix, ok = position(last)
		return a, ok
	}
	if a.first, ok = position(first); !ok {
		return asked{}, false
	}
	if last == "" {
		a.end = true
		return a, true
	}
	a.last, ok = position(last)
	return a, ok && a.first <= a.last
}

// position reads a number of bytes. A larger one than an int64 has counts as the largest.
func position(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseInt(text, 10, 64) // the largest if it has too many digits
	return n, true
}

// of returns the part of a result with a known length, and whether there is one.
func (a asked) of(length int64) (s span, ok bool) {
	s = span{first: a.first, last: a.last}
	if a.end || s.last >= length {
		s.last = length - 1
	}
	if a.suffix >= 0 {
		s = span{first: max(0, length-a.suffix), last: length - 1}
	}
	return s, s.first <= s.last
}

// ofGrowing returns the part of a result of unknown length that has so many bytes now, and
// whether the answer goes on until the end of the result.
func (a asked) ofGrowing(size int64) (s span, follow bool) {
	s = a.span
	if !a.end && s.last >= manyBytes {
		return s, true
	}
	if s.end || s.last >= size {
		s.last, s.end = size-1, false
	}
	return s, false
}

// content returns the field Content-Range. A negative length is not known.
func (s span) content(length int64) string {
	if length < 0 {
		return fmt.Sprintf("bytes %d-%d/*", s.first, s.last)
	}
	return fmt.Sprintf("bytes %d-%d/%d", s.first, s.last, length)
}
