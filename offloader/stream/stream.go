// Package stream holds the output of one run while it is produced: bytes, and an end with a
// cause. One writer fills a stream for one reader, which may be slower. The bytes go to
// memory first, then to a file; when both are full the writer waits. The reader frees the
// bytes that it has read, so a stream cannot be read a second time.
package stream

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Errors of a stream.
var (
	// ErrStalled: the stream was full for longer than a full stream may block its writer.
	ErrStalled = errors.New("stream stalled: its reader is too slow")
	// ErrEnded: something was written after the end.
	ErrEnded = errors.New("stream has ended")

	// errBusy: the memory is used up, but the reader may soon free some.
	errBusy = errors.New("stream is waiting for its reader")

	errLate = fmt.Errorf("%w: %w", ErrStalled, os.ErrDeadlineExceeded)
)

// Options of a stream.
type Options struct {
	// Budget of the process.
	Budget *spool.Budget
	// Bounds of the bytes that have not been read.
	Bounds spool.Bounds
	// Patience is how long the writer waits for the reader before it uses the file, which
	// costs more than a short wait for a fast reader. After one wait without success the
	// writer uses the file at once. Zero: no wait.
	Patience time.Duration
	// Stall is the longest time for which a full stream blocks its writer. Zero:
	// without limit.
	Stall time.Duration
}

// Stream is the output of one run. Init sets it up, usually as a field of a larger type.
// Write, Flush and Broken belong to the writer's goroutine; End, Abort and SetWriteDeadline
// may be called from any goroutine.
type Stream struct {
	opts Options

	mu      sync.Mutex
	store   spool.Store
	blocks  []*spool.Block  // blocks[0] has the number first
	few     [4]*spool.Block // the first array of blocks: most outputs are small
	first   int
	written int64
	flushed int64 // value of written at the last flush
	flushes int   // number of flushes
	ended   bool
	aborted bool          // the reader gets nothing more
	cause   error         // why it ended, nil for a complete stream
	reader  *Reader       // nil before it joins
	room    chan struct{} // wakes the writer, nil while it does not wait
	writeBy time.Time     // when a blocked writer fails, zero for never

	// Owned by the writer.
	led       int  // bytes that went past the stream before its first one
	impatient bool // it has waited for the reader in vain
}

// Init makes a zero Stream an empty one.
func (s *Stream) Init(o Options) {
	s.opts = o
	s.store.Init(o.Budget, o.Bounds, spool.OfStream)
	s.blocks = s.few[:0]
}

// BelongTo sets the owner of an empty stream. By default it has none.
func (s *Stream) BelongTo(o spool.Owned) { s.store.BelongTo(o) }

// Write appends to the stream. When memory, file and budget are used up it waits for the
// reader, as long as Options.Stall allows. A reader that has nothing to read gets the bytes
// even then, one block at a time. Write fails once the stream has ended, with the cause if
// there is one.
func (s *Stream) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := s.writeSome(p[n:])
		if errors.Is(err, errBusy) {
			m, err = s.waitForReader(p[n:])
		}
		if isFull(err) {
			m, err = s.writeWhenRoom(p[n:])
		}
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// isFull reports whether an error means that there is no room, for this stream or for all.
func isFull(err error) bool {
	return errors.Is(err, spool.ErrTooLarge) || errors.Is(err, spool.ErrFull)
}

// writeSome writes into one block. A block in a file is written to without the
// lock, so that a slow disk does not block the reader.
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
	if err != nil {
		s.seal(b)
	}
	s.wakeReader()
	return n, err
}

// seal ends the last block, whose file has failed. It requires s.mu.
func (s *Stream) seal(b *spool.Block) {
	s.store.Seal(b)
	if b.Len() == 0 { // a reader that waits would not give it back
		s.store.Free(b)
		s.blocks = s.blocks[:len(s.blocks)-1]
	}
}

// tail returns the last block with room, or a new one. It requires s.mu.
func (s *Stream) tail() (*spool.Block, error) {
	if s.ended {
		return nil, s.endError()
	}
	if n := len(s.blocks); n > 0 && s.blocks[n-1].Room() > 0 {
		return s.blocks[n-1], nil
	}
	hint := int64(spool.BlockSize)
	if s.written == 0 {
		// The first s.led bytes of this piece went to the client directly. A block that is
		// shorter by that much takes the rest, so that later pieces begin with a block.
		hint -= int64(s.led)
	}
	b := s.store.AllocMemory(hint)
	if b == nil {
		if s.opts.Patience > 0 && !s.impatient && len(s.blocks) > 0 {
			return nil, errBusy
		}
		var err error
		if b, err = s.store.Alloc(hint); err != nil {
			return nil, err
		}
	}
	s.blocks = append(s.blocks, b)
	return b, nil
}

// waitForReader gives the reader a moment to make room in memory.
func (s *Stream) waitForReader(p []byte) (int, error) {
	s.expectRoom() // before the attempt, so that no wake-up is missed
	defer s.expectNoRoom()
	n, err := s.writeSome(p)
	if !errors.Is(err, errBusy) {
		return n, err
	}
	timer := time.NewTimer(s.opts.Patience)
	defer timer.Stop()
	select {
	case <-s.room:
	case <-timer.C:
		s.impatient = true
	}
	return 0, nil
}

// writeWhenRoom tries again whenever there may be room, until it has written something.
// Options.Stall counts from here: room that other streams take first does not prolong it.
func (s *Stream) writeWhenRoom(p []byte) (int, error) {
	var stalled <-chan time.Time
	if s.opts.Stall > 0 {
		timer := time.NewTimer(s.opts.Stall)
		defer timer.Stop()
		stalled = timer.C
	}
	defer s.expectNoRoom()
	for {
		freed := s.expectRoom() // before the attempt, so that no wake-up is missed
		n, err := s.writeSome(p)
		if !isFull(err) && !errors.Is(err, errBusy) {
			return n, err
		}
		if n := s.lend(p); n > 0 {
			return n, s.repay(stalled)
		}
		if err := s.awaitRoom(freed, stalled); err != nil {
			return 0, err
		}
	}
}

// lend passes the beginning of p to a reader that has nothing to read, beyond the budget:
// otherwise streams that have used up the budget would stop this one. It returns the number
// of bytes.
func (s *Stream) lend(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.blocks) > 0 {
		return 0
	}
	b := s.store.Lend(p)
	s.blocks = append(s.blocks, b)
	s.written += int64(b.Len())
	s.wakeReader()
	return b.Len()
}

// repay waits until the reader has read the lent bytes, or there is room for them. So a run
// never has more than one lent block.
func (s *Stream) repay(stalled <-chan time.Time) error {
	for {
		freed := s.expectRoom()
		if repaid, err := s.tryRepay(); repaid || err != nil {
			return err
		}
		if err := s.awaitRoom(freed, stalled); err != nil {
			return err
		}
	}
}

// tryRepay counts the lent block, if there is one, within the bounds and the budget. It
// reports whether no lent block is left.
func (s *Stream) tryRepay() (repaid bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.blocks) == 0 || s.store.Settle(s.blocks[0]):
		return true, nil
	case s.ended:
		return false, s.endError()
	}
	return false, nil
}

// expectRoom makes the reader wake the writer when it frees a block. The channel that it
// returns is closed when another spool gives something back.
func (s *Stream) expectRoom() (freed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = make(chan struct{}, 1)
	return s.opts.Budget.Freed()
}

// expectNoRoom ends expectRoom.
func (s *Stream) expectNoRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = nil
}

// awaitRoom blocks until there may be room. It aborts the stream if that takes too long,
// by Options.Stall or by the deadline.
func (s *Stream) awaitRoom(freed <-chan struct{}, stalled <-chan time.Time) error {
	late, stop := s.untilLate()
	defer stop()
	select {
	case <-s.room:
	case <-freed:
	case <-stalled:
		s.Abort(ErrStalled)
		return ErrStalled
	case <-late:
		s.Abort(errLate)
		return errLate
	}
	return nil
}

// SetWriteDeadline bounds how long a full stream blocks its writer, in addition to
// Options.Stall. A write that is blocked then fails with an error that is both
// [ErrStalled] and [os.ErrDeadlineExceeded], and the stream is aborted. A write that
// has room is not affected. The zero value removes the deadline. It may be called from
// any goroutine, also while a write is blocked.
func (s *Stream) SetWriteDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeBy = t
	s.wakeWriter() // it waits with the former deadline
}

// untilLate returns a channel that receives when the deadline passes, nil without one.
func (s *Stream) untilLate() (late <-chan time.Time, stop func()) {
	s.mu.Lock()
	by := s.writeBy
	s.mu.Unlock()
	if by.IsZero() {
		return nil, func() {}
	}
	timer := time.NewTimer(time.Until(by))
	return timer.C, func() { timer.Stop() }
}

// Flush asks the reader to pass on all bytes written so far as soon as it has them.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = s.written
	s.flushes++
	s.wakeReader()
}

// Lead records n bytes that were sent past the stream before its first one, without a
// flush. Reader.FlushIdle counts for them too.
func (s *Stream) Lead(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.led = n
	if s.reader != nil {
		s.reader.lingers = true
	}
	s.wakeReader()
}

// End ends the stream. A cause means that it is not complete: the reader gets the bytes
// written before and then the cause, and a blocked writer fails. Only the first end
// counts.
func (s *Stream) End(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.cause = true, cause
	s.wakeReader()
	s.wakeWriter()
}

// Abort ends the stream at once, from any goroutine: a blocked writer fails
// with the cause, and the reader gets nothing more.
func (s *Stream) Abort(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.aborted, s.cause = true, true, cause
	s.wakeReader()
	s.wakeWriter()
}

// Broken returns the error that makes the stream's file unusable, nil if it can be used. It
// is for the writer's goroutine.
func (s *Stream) Broken() error { return s.store.Broken() }

// Close releases memory and file. The writer and the reader must be done.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, b := range s.blocks {
		s.store.Free(b)
	}
	s.blocks = nil
	s.store.Close()
	if s.reader != nil {
		s.reader.release()
	}
}

// endError is the error of a write after the end. It requires s.mu.
func (s *Stream) endError() error {
	if s.cause != nil {
		return s.cause
	}
	return ErrEnded
}

// wakeWriter wakes the writer if it waits for room. It requires s.mu.
func (s *Stream) wakeWriter() {
	select {
	case s.room <- struct{}{}:
	default: // it does not wait, or is awake
	}
}

// wakeReader wakes the reader if it waits. It requires s.mu.
func (s *Stream) wakeReader() {
	if r := s.reader; r != nil && r.waiting {
		r.waiting = false
		r.wake <- struct{}{}
	}
}
