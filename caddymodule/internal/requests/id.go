package requests

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"
)

// ID is a request's number within the process. String encodes it on demand as a
// random-looking text, which does not show how many requests there are.
type ID uint64

// idLength holds 64 bits in digits of 5.
const idLength = 13

// These are package variables, and no part of the state of the process, since an ID is used
// without that state.
var (
	lastID atomic.Uint64
	idSeed = maphash.MakeSeed() // a new one for each process
)

// NewID returns the next id.
func NewID() ID { return ID(lastID.Add(1)) }

func (id ID) hash() uint64 { return maphash.Comparable(idSeed, uint64(id)) }

// String returns the ID as it appears in answers, logs and commands.
func (id ID) String() string {
	text := strconv.FormatUint(id.hash(), 32)
	return strings.Repeat("0", idLength-len(text)) + text
}

// WantedID is an ID that a client of the admin endpoint has sent.
type WantedID uint64

// ParseID reads what String has written.
func ParseID(text string) (WantedID, bool) {
	n, err := strconv.ParseUint(text, 32, 64)
	return WantedID(n), err == nil && len(text) == idLength
}

// Of reports whether id is the one that is wanted.
func (w WantedID) Of(id ID) bool { return uint64(w) == id.hash() }
