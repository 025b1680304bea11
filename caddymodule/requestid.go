package caddymodule

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"
)

// requestID is a request's number within the process. It becomes text only when
// somebody asks: then it looks random, so that it says nothing of how many
// requests there are.
type requestID uint64

// requestIDLength holds 64 bits in digits of 5.
const requestIDLength = 13

var (
	lastRequestID atomic.Uint64
	requestIDSeed = maphash.MakeSeed() // a new one for each process
)

func newRequestID() requestID { return requestID(lastRequestID.Add(1)) }

func (id requestID) hash() uint64 { return maphash.Comparable(requestIDSeed, uint64(id)) }

// String returns the id as answers, logs and commands know it.
func (id requestID) String() string {
	text := strconv.FormatUint(id.hash(), 32)
	return strings.Repeat("0", requestIDLength-len(text)) + text
}

// wantedID is an id that somebody has asked for.
type wantedID uint64

// parseRequestID reads what String has written.
func parseRequestID(text string) (wantedID, bool) {
	n, err := strconv.ParseUint(text, 32, 64)
	return wantedID(n), err == nil && len(text) == requestIDLength
}

// of reports whether id is the one that is wanted.
func (w wantedID) of(id requestID) bool { return uint64(w) == id.hash() }
