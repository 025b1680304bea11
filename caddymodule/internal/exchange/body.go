package exchange

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
)

// ringSize is how far the worker reads ahead of the run. It is twice as much as
// reverse_proxy reads at once: the reads that this saves pay for the copy.
const ringSize = 64 << 10

// rings keeps the memory of rings. They are arrays, so that to keep one costs no
// allocation.
var rings = sync.Pool{New: func() any { return new([ringSize]byte) }}

// errClosed is what reading a closed body returns.
var errClosed = errors.New("read on closed response body")

// ring holds the bytes of a body between the worker, which fills it, and the run, which
// empties it.
type ring struct {
	memory   *[ringSize]byte
	from, to int64 // counted from the beginning of the body
	base     int64 // position of the first byte of the memory
	guessed  bool  // the answer names no type: some writers guess it from the first write
	first    int64 // so that must be what the source has given first; zero if it has a type
	err      error // of the source, behind the last byte
	reading  bool  // the run waits for bytes, or copies them out of the memory
	closed   bool  // the run reads no more
}

// free returns the room behind the last byte, up to the end of the memory. An empty
// ring starts at its beginning again, so that its room is in one piece.
func (r *ring) free() []byte {
	if r.from == r.to {
		r.base = r.to
	}
	at, free := (r.to-r.base)%ringSize, ringSize-(r.to-r.from)
	return r.memory[at:min(ringSize, at+free)]
}

// held returns the bytes that the run has not read, up to the end of the memory.
func (r *ring) held() []byte {
	to := r.to
	if r.from < r.first {
		to = r.first
	}
	at := (r.from - r.base) % ringSize
	return r.memory[at:min(ringSize, at+to-r.from)]
}

// open puts the ring between the worker and the run, and returns the answer for the
// run. An answer that may have trailers is copied: the transport writes them into its
// own at the end of the body. It requires x.mu.
func (x *Exchange) open(res *http.Response) *http.Response {
	x.source = res.Body
	x.ring.memory = rings.Get().(*[ringSize]byte)
	x.ring.guessed = res.Header.Get("Content-Type") == ""
	if res.ContentLength < 0 || res.ProtoMajor > 1 {
		own := *res
		own.Trailer = maps.Clone(res.Trailer)
		x.body = body{x: x, own: &own, trailers: res}
		own.Body = &x.body
		return &own
	}
	x.body.x = x
	res.Body = &x.body
	return res
}

// pump fills the ring until the body ends or the run takes no more of it.
func (x *Exchange) pump(res *http.Response) {
	for {
		room, left := x.awaitRoom()
		if room == nil {
			if left {
				x.dropRest()
			}
			return
		}
		n, err := x.source.Read(room)
		x.filled(n, err)
		if err != nil {
			return
		}
	}
}

// awaitRoom returns room for more bytes, nil when the run takes no more.
func (x *Exchange) awaitRoom() (room []byte, left bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.left == nil && !x.ring.closed {
		if room := x.ring.free(); len(room) > 0 {
			return room, false
		}
		x.mu.Unlock()
		<-x.room
		x.mu.Lock()
	}
	return nil, x.left != nil
}

func (x *Exchange) filled(n int, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ring.to == 0 && x.ring.guessed {
		x.ring.first = int64(n)
	}
	x.ring.to += int64(n)
	x.ring.err = err
	signal(x.wake)
}

// body is the answer's body as the run reads it. Close may be called during Read.
type body struct {
	x             *Exchange
	own, trailers *http.Response // where trailers go to and come from, nil without
}

// Read returns what the worker has read.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	held, err := b.x.awaitBytes()
	n := copy(p, held)
	if n > 0 {
		err = b.x.taken(n)
	}
	if errors.Is(err, io.EOF) && b.own != nil {
		b.own.Trailer = b.trailers.Trailer
	}
	return n, err
}

// awaitBytes returns bytes, which the run has to say that it has taken, or why no more
// come.
func (x *Exchange) awaitBytes() ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		switch {
		case x.ring.closed:
			return nil, errClosed
		case x.left != nil:
			return nil, x.left
		case x.ring.from < x.ring.to:
			x.ring.reading = true
			return x.ring.held(), nil
		case x.panicked != nil: // as without the exchange, after what came before
			panic(x.panicked)
		case x.ring.err != nil:
			return nil, x.ring.err
		}
		x.ring.reading = true
		x.mu.Unlock()
		<-x.wake
		x.mu.Lock()
		x.ring.reading = false
	}
}

// taken makes room of bytes that the run has read. It returns io.EOF with the last
// ones, which saves a read.
func (x *Exchange) taken(n int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ring.from += int64(n)
	x.ring.reading = false
	signal(x.room)
	if x.ring.from == x.ring.to && errors.Is(x.ring.err, io.EOF) {
		return io.EOF
	}
	return nil
}

// Close ends the body. One that has not been read to its end is left, if the backend
// is presumed to work on; else its connection is closed, as it would be without the
// exchange.
func (b *body) Close() error {
	x := b.x
	source := x.close(!x.ended() && x.owner.Outlasts())
	if source == nil {
		return nil
	}
	return source.Close()
}

// ended reports whether the worker has read the body to its end, or as far as a panic.
func (x *Exchange) ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ring.err != nil || x.panicked != nil
}

// close says that the run reads no more. It returns the source if the run has to close
// it: not if that was closed before, and not if the run has left, when the worker does.
func (x *Exchange) close(outlasts bool) io.Closer {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ring.closed {
		return nil
	}
	x.ring.closed = true
	if x.left == nil && x.ring.err == nil && outlasts {
		x.left = errClosed
	}
	signal(x.room)
	signal(x.wake)
	switch {
	case x.left != nil:
		return nil
	case x.ring.err != nil && !x.ring.reading: // then the worker does not need it either
		rings.Put(x.ring.memory)
		x.ring.memory = nil
	}
	return x.source
}
