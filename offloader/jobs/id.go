package jobs

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"time"
)

// ID identifies a job: 48 bits of time in milliseconds, so that new jobs are stored behind
// older ones, and 128 random bits, so that it cannot be guessed. It is a key of maps.
type ID [22]byte

// ErrBadID is returned for a text that is not the ID of a job.
var ErrBadID = errors.New("this is not the ID of a job")

// crockford is Crockford's base 32 in lower case: no letter looks like a digit.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns an ID of a job that was created at that time.
func NewID(created time.Time) ID {
	var id ID
	ms := uint64(created.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	rand.Read(id[6:])
	return id
}

// ParseID reads the text form.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != crockford.EncodedLen(len(id)) {
		return ID{}, ErrBadID
	}
	if _, err := crockford.Decode(id[:], []byte(text)); err != nil || id.String() != text {
		return ID{}, ErrBadID
	}
	return id, nil
}

// String returns the text form: 36 characters.
func (id ID) String() string {
	var text [36]byte // a constant length spares an allocation
	crockford.Encode(text[:], id[:])
	return string(text[:])
}

// Short returns the beginning of the text form, for logs: it does not give access to the job.
func (id ID) Short() string { return id.String()[:14] }

// IsZero reports whether the ID is that of no job.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText returns the text form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
