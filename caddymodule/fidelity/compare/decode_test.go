package compare

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// decoded replaces a compressed body by its text, because the compressed length depends on
// the flushes.
func decoded(x *exchange) {
	if text, ok := decode(&x.answers[0]); ok {
		x.answers[0].body = text
	}
	x.log = slices.DeleteFunc(x.log, func(f string) bool { return nameOf(f) == "(written)" })
}

// decode reads as much as there is.
func decode(m *message) (text []byte, ok bool) {
	var r io.Reader
	var err error
	switch {
	case slices.Contains(m.fields, "Content-Encoding: gzip"):
		r, err = gzip.NewReader(bytes.NewReader(m.body))
	case slices.Contains(m.fields, "Content-Encoding: zstd"):
		r, err = zstd.NewReader(bytes.NewReader(m.body))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	text, _ = io.ReadAll(r)
	return text, true
}
