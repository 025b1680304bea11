// Package idempotency reads the field Idempotency-Key of requests, and computes the hashes
// by which a repeated submission is noticed.
package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// MaxLength is the longest key in bytes.
const MaxLength = 255

// Errors of [Of].
var (
	ErrMissing = errors.New("no idempotency key")
	ErrBad     = errors.New("want one idempotency key of 1 to 255 printable characters")
)

// Of returns the key of a request: the text of a structured string, or the value as it is.
// It returns ErrMissing for a request without the field.
func Of(h http.Header) (string, error) {
	values := h["Idempotency-Key"]
	switch {
	case len(values) == 0:
		return "", ErrMissing
	case len(values) > 1:
		return "", ErrBad
	}
	text := strings.Trim(values[0], " \t")
	if strings.HasPrefix(text, `"`) {
		item, err := httpsfv.UnmarshalItem([]string{text})
		quoted, ok := item.Value.(string)
		if err != nil || !ok {
			return "", ErrBad
		}
		text = quoted
	}
	if len(text) == 0 || len(text) > MaxLength || !printable(text) {
		return "", ErrBad
	}
	return text, nil
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// Scope is where a key is unique.
type Scope struct {
	Tenant, Route string
	Owner         [32]byte
}

// Hash returns the hash of a key in its scope.
func (s Scope) Hash(key string) [32]byte {
	return hash([]byte(s.Tenant), s.Owner[:], []byte(s.Route), []byte(key))
}

// Fingerprint returns the hash of a request, with that of its body.
func Fingerprint(r *http.Request, body [32]byte) [32]byte {
	return hash([]byte(r.Method), []byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery), body[:])
}

// hash covers the lengths of the parts, so that no two lists of parts have one hash.
func hash(parts ...[]byte) [32]byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}
