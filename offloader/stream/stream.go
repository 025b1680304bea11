// Package stream holds the result of one run while it is produced: a preamble,
// a body, trailers and an end with a cause. One writer produces it, readers may
// be slower or join late. The body goes to memory first, then to a file; when
// both are used up the writer waits.
package stream

import (
	"errors"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Errors of a stream.
var (
	// ErrStalled: the stream was full for longer than it may block its writer.
	ErrStalled = errors.New("stream stalled: its reader is too slow")
	// ErrEnded: something was written after the end.
	ErrEnded = errors.New("stream has ended")
)

// Preamble comes before the body.
type Preamble struct {
	Status int
	Header map[string][]string
}

// Options of a stream.
type Options struct {
	// Budget of the process.
	Budget *spool.Budget
	// Bounds of this stream. They bound what has not been read; with Keep they
	// bound all of it.
	Bounds spool.Bounds
	// Keep all bytes until Close, for readers that join late. Without it there
	// is one reader, and what it has read is given back.
	Keep bool
	// Stall is the longest time that a full stream blocks its writer. Zero: for
	// ever.
	Stall time.Duration
}

// Stream is one result. The writing methods (Begin, Write, Flush, End) belong
// to one goroutine; Abort may be called from any.
type Stream struct {
	opts Options

	mu       sync.Mutex
	store    *spool.Store
	preamble *Preamble
	trailer  map[string][]string
	blocks   []*spool.Block // blocks[0] is number first
	first    int
	written  int64
	flushed  int64 // how much was written when a flush was last asked for
	flushes  int   // how often
	ended    bool
	cause    error // why it ended, nil for well
	readers  []*Reader
	room     chan struct{} // wakes the writer, nil while it does not wait
}

// New returns an empty stream.
func New(o Options) *Stream {
	return &Stream{opts: o, store: spool.NewStore(o.Budget, o.Bounds)}
}

// Begin sets the preamble. Only the first call counts.
func (s *Stream) Begin(p Preamble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preamble == nil {
		s.preamble = &p
		s.wakeReaders()
	}
}

// Write appends to the body. When memory, file and budget are used up it waits
// for a reader, as long as Options.Stall allows. It fails once the stream has
// ended, with the cause if there is one.
func (s *Stream) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := s.writeSome(p[n:])
		n += m
		if isFull(err) {
			m, err = s.writeWhenRoom(p[n:])
			n += m
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func isFull(err error) bool {
	return errors.Is(err, spool.ErrTooLarge) || errors.Is(err, spool.ErrFull)
}

// writeSome writes into one block. A block in a file is written to without the
// lock, so that a slow disk blocks nobody else.
func (s *Stream) writeSome(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.tail()
	if err != nil {
		return 0, err
	}
	var n int
	if b.InMemory() {
		n, err = s.store.Write(b, p)
	} else {
		s.mu.Unlock()
		n, err = s.store.Write(b, p)
		s.mu.Lock()
	}
	b.Advance(n)
	s.written += int64(n)
	s.wakeReaders()
	return n, err
}

// tail returns the last block with room, or a new one. It requires s.mu.
func (s *Stream) tail() (*spool.Block, error) {
	if s.ended {
		return nil, s.endError()
	}
	if n := len(s.blocks); n > 0 && s.blocks[n-1].Room() > 0 {
		return s.blocks[n-1], nil
	}
	b, err := s.store.Alloc(0)
	if err == nil {
		s.blocks = append(s.blocks, b)
	}
	return b, err
}

// writeWhenRoom tries once more, now that it will hear of room, and then waits
// for it.
func (s *Stream) writeWhenRoom(p []byte) (int, error) {
	freed := s.expectRoom()
	defer s.expectNoRoom()
	n, err := s.writeSome(p)
	if !isFull(err) || s.opts.Keep || s.store.Hopeless() {
		return n, err
	}
	return 0, s.awaitRoom(freed)
}

func (s *Stream) expectRoom() (freed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = make(chan struct{}, 1)
	return s.opts.Budget.Freed()
}

func (s *Stream) expectNoRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = nil
}

func (s *Stream) awaitRoom(freed <-chan struct{}) error {
	var stalled <-chan time.Time
	if s.opts.Stall > 0 {
		timer := time.NewTimer(s.opts.Stall)
		defer timer.Stop()
		stalled = timer.C
	}
	select {
	case <-s.room:
	case <-freed:
	case <-stalled:
		s.Abort(ErrStalled)
		return ErrStalled
	}
	return nil
}

// Flush asks readers to hand on what was written so far as soon as they have it.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = s.written
	s.flushes++
	s.wakeReaders()
}

// End ends the stream. A cause says that it is not complete; readers get what
// was written before and then the cause. Only the first end counts.
func (s *Stream) End(trailer map[string][]string, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.cause, s.trailer = true, cause, trailer
	s.wakeReaders()
}

// Abort ends the stream at once, from any goroutine: a blocked writer fails
// with the cause, and readers get nothing more.
func (s *Stream) Abort(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.cause = true, cause
	for _, r := range s.readers {
		r.aborted = true
	}
	s.wakeReaders()
	s.wakeWriter()
}

// Written returns the length of the body so far.
func (s *Stream) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Close gives everything back. The writer and all readers must be done.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, b := range s.blocks {
		s.store.Free(b)
	}
	s.blocks = nil
	s.store.Close()
}

// endError is what a writer gets after the end. It requires s.mu.
func (s *Stream) endError() error {
	if s.cause != nil {
		return s.cause
	}
	return ErrEnded
}

func (s *Stream) wakeWriter() {
	select {
	case s.room <- struct{}{}:
	default: // it does not wait, or has been woken
	}
}

func (s *Stream) wakeReaders() {
	for _, r := range s.readers {
		if r.waiting {
			r.waiting = false
			r.wake <- struct{}{}
		}
	}
}
