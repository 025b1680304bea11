package exchange

import (
	"errors"
	"io"
	"sync"
)

// ringSize is how many bytes the worker reads ahead of the run. It is twice as much as
// reverse_proxy reads at once: the saved reads make up for the cost of the copy.
const ringSize = 64 << 10

// endlessRingSize is the ringSize for streams of events, which are many and idle most of
// the time. It is as much as a transport reads at once.
const endlessRingSize = 4 << 10

// The memory of rings is reused within the process. It is kept in arrays, since pooling a
// slice would cost an allocation.
var (
	rings        = sync.Pool{New: func() any { return new([ringSize]byte) }}
	endlessRings = sync.Pool{New: func() any { return new([endlessRingSize]byte) }}
)

// ring holds the bytes of a body between the worker, which fills it, and the run, which
// empties it. It is guarded by the lock of the state, except for the bytes that free and
// held return: those belong to the caller until fill or take.
type ring struct {
	memory   []byte // of an array from rings or endlessRings
	from, to int64  // counted from the beginning of the body
	base     int64  // position of the first byte of the memory
	first    int64  // bytes that the run must get at once, in its first read; -1 before they come
	err      error  // of the source, behind the last byte
}

// open initializes a zero ring; endless selects the small size for a stream of events.
// Without a content type (typed is false), the run gets the first piece of the source
// alone, since some writers guess the type from their first write.
func (r *ring) open(endless, typed bool) {
	if endless {
		r.memory = endlessRings.Get().(*[endlessRingSize]byte)[:]
	} else {
		r.memory = rings.Get().(*[ringSize]byte)[:]
	}
	if !typed {
		r.first = -1
	}
}

// free returns the room behind the last byte, up to the end of the memory. An empty
// ring starts at its beginning again, so that its room is in one piece.
func (r *ring) free() []byte {
	if r.empty() {
		r.base = r.to
	}
	size := int64(len(r.memory))
	at, free := (r.to-r.base)&(size-1), size-(r.to-r.from)
	return r.memory[at:min(size, at+free)]
}

// fill adds n bytes that were read into the room of free, and the error of that read.
func (r *ring) fill(n int, err error) {
	if r.first < 0 && n > 0 {
		r.first = int64(n)
	}
	r.to += int64(n)
	r.err = err
}

// empty reports whether the run has read all bytes that have come.
func (r *ring) empty() bool { return r.from == r.to }

// held returns the bytes that the run has not read, up to the end of the memory.
func (r *ring) held() []byte {
	to := r.to
	if r.from < r.first {
		to = r.first
	}
	size := int64(len(r.memory))
	at := (r.from - r.base) & (size - 1)
	return r.memory[at:min(size, at+to-r.from)]
}

// take frees n bytes that held has returned. It returns io.EOF with the last bytes, which
// saves a read.
func (r *ring) take(n int) error {
	r.from += int64(n)
	if r.empty() && errors.Is(r.err, io.EOF) {
		return io.EOF
	}
	return nil
}

// end returns the error of the source, nil if more bytes may come.
func (r *ring) end() error { return r.err }

// release gives the memory back. Neither the worker nor the run may use it.
func (r *ring) release() {
	if len(r.memory) == ringSize {
		rings.Put((*[ringSize]byte)(r.memory))
	} else {
		endlessRings.Put((*[endlessRingSize]byte)(r.memory))
	}
	r.memory = nil
}
