package exchange

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// errClosed is the error of reads from a closed body.
var errClosed = errors.New("read on closed response body")

// answer is what the transport has returned.
type answer struct {
	res     *http.Response // for the run
	err     error
	source  io.ReadCloser // the body as it comes, nil without one
	pumped  bool          // the worker reads the source, not the run
	endless bool          // it goes on until its client leaves
}

// state is the progress of an exchange. Its worker, its run and its owner call its methods
// on separate goroutines. One lock guards all of it, since leave and end exclude each
// other, and since run and worker wait for bytes and for a leave at the same time. Its
// exported methods are methods of Exchange, which embeds it.
type state struct {
	wake chan struct{} // for the run, which waits for the head or for bytes
	room chan struct{} // for the worker, which waits for room in the ring

	mu       sync.Mutex // guards the rest
	answer   answer
	panicked any   // by the transport
	left     error // why the run has left, nil if it has not
	over     bool  // the owner knows that it is over
	cut      bool  // the answer was longer than is read of it
	finished bool  // the worker or the owner is done with it
	reading  bool  // the run waits for bytes, or copies them out of the ring
	closed   bool  // the run reads no more
	ring     ring
}

// begin prepares a reused exchange, which is over, for the next request.
func (s *state) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = false
}

// done records that the worker or the owner needs the exchange no longer. It returns true
// for the second of the two if nothing else refers to the exchange; the state is reset
// then.
func (s *state) done() (kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	second := s.finished
	s.finished = true
	if !second || s.left != nil || s.panicked != nil || s.reading {
		return false
	}
	drop(s.wake)
	drop(s.room)
	s.answer, s.ring = answer{}, ring{}
	s.cut, s.finished, s.closed = false, false, false // and over until it begins again
	return true
}

// arrive hands the answer to the run. It reports false if the run has left.
func (s *state) arrive(a answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left != nil {
		return false
	}
	s.answer = a
	if a.pumped {
		s.ring.open(a.endless, a.res.Header.Get("Content-Type") != "")
	}
	signal(s.wake)
	return true
}

// awaitHead waits for the answer, and returns it or the error in its place.
func (s *state) awaitHead() (*http.Response, error) {
	<-s.wake
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.left != nil:
		return nil, s.left
	case s.panicked != nil && s.answer.res == nil: // else the body panics
		panic(s.panicked)
	}
	return s.answer.res, s.answer.err
}

// Leave makes RoundTrip and reads of the body return cause from now on. The rest of the
// answer is dropped. It returns false if the exchange is over.
func (s *state) Leave(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if s.left == nil {
		s.left = cause
		signal(s.wake)
		signal(s.room)
	}
	return true
}

// Left reports whether the run has left and the exchange goes on.
func (s *state) Left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left != nil && !s.over
}

// leaving returns the cause with which the run has left, nil if it has not left.
func (s *state) leaving() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Endless reports whether an answer has begun that goes on until its client leaves.
func (s *state) Endless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer.endless
}

// wasCut records that the answer is not read to its end.
func (s *state) wasCut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// hasPanicked passes the value of a panic of the transport to the run's goroutine, where
// Caddy expects it.
func (s *state) hasPanicked(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.panicked = v
	signal(s.wake)
}

// end records that the exchange is over. first is true for the first call.
func (s *state) end() (first, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = !s.over
	s.over = true
	return first, s.cut
}

// awaitRoom waits for room in the ring and returns it, nil when the run reads no more.
func (s *state) awaitRoom() (room []byte, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.left == nil && !s.closed {
		if room := s.ring.free(); len(room) > 0 {
			return room, false
		}
		s.mu.Unlock()
		<-s.room
		s.mu.Lock()
	}
	return nil, s.left != nil
}

// filled adds n bytes to the ring, and the error of the read.
func (s *state) filled(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.fill(n, err)
	signal(s.wake)
}

// awaitBytes waits for bytes of the body and returns them, or the error at their end. The
// run has to call taken for them.
func (s *state) awaitBytes() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return nil, errClosed
		case s.left != nil:
			return nil, s.left
		case !s.ring.empty():
			s.reading = true
			return s.ring.held(), nil
		case s.panicked != nil: // as without the exchange, after what came before
			panic(s.panicked)
		case s.ring.end() != nil:
			return nil, s.ring.end()
		}
		s.reading = true
		s.mu.Unlock()
		<-s.wake
		s.mu.Lock()
		s.reading = false
	}
}

// taken frees n bytes that the run has read. It returns io.EOF with the last bytes.
func (s *state) taken(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	signal(s.room)
	return s.ring.take(n)
}

// ended reports whether the worker has read the body to its end, or has panicked.
func (s *state) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring.end() != nil || s.panicked != nil
}

// close records that the run reads no more of the body. It returns the source if its caller
// has to close that, and nil if it is closed elsewhere: by an earlier call, or by the worker,
// which reads the rest without the run. outlasts means that the backend presumably works on.
func (s *state) close(outlasts bool) io.Closer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ended := s.ring.end() != nil
	if s.left == nil && !ended && outlasts {
		s.left = errClosed
	}
	signal(s.room)
	signal(s.wake)
	switch {
	case s.left != nil:
		return nil
	case ended && !s.reading: // then the worker does not need it either
		s.ring.release()
	}
	return s.answer.source
}

// drop removes a signal for which no goroutine has waited.
func drop(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// signal wakes a waiter, now or when it begins to wait.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
