package stream

import (
	"errors"
	"io"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// ErrLeft is returned by [Reader.Next] if its left channel is closed first.
var ErrLeft = errors.New("reader left")

// errIdle reports that no bytes came within FlushIdle.
var errIdle = errors.New("reader idle")

// Reader reads a stream. It belongs to one goroutine. The zero value is ready to Join.
type Reader struct {
	// FlushIdle is how long bytes that were handed on may wait for further bytes before
	// Next asks for a flush, although the writer has not asked for one. Zero: without
	// limit.
	FlushIdle time.Duration

	stream *Stream
	buf    *spool.Buffer // for blocks in the file, nil before the first

	// Guarded by the stream's mu.
	block   int // number of the block that the next byte is in
	offset  int // the offset in it
	read    int64
	flushes int  // how many flushes were passed on
	lingers bool // bytes were passed on that no flush has followed
	waiting bool
	wake    chan struct{} // holds one; sent by the code that clears waiting
}

// Piece is the result of one read.
type Piece struct {
	// Data may be empty. It is valid until the next call.
	Data []byte
	// Flush means that all bytes up to the end of Data must be passed on at once.
	Flush bool
}

// Join makes a zero Reader the reader of s, which has none yet.
func (r *Reader) Join(s *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.stream, r.block = s, s.first
	s.reader = r
}

// Next waits for the next piece. At the end it fails with io.EOF, or with the cause if the
// stream was cut short, and with ErrLeft if left is closed first. The previous piece is
// given back to the stream.
func (r *Reader) Next(left <-chan struct{}) (Piece, error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack()
	for {
		switch {
		case s.aborted:
			return Piece{}, s.endError()
		case r.read < s.written:
			return r.take(spool.BlockSize)
		case r.flushes != s.flushes:
			return r.flush(), nil
		case s.ended && s.cause != nil:
			return Piece{}, s.cause
		case s.ended:
			return Piece{}, io.EOF
		}
		switch err := r.await(left); {
		case errors.Is(err, errIdle):
			if r.read == s.written { // else more came at this moment
				return r.flush(), nil
			}
		case err != nil:
			return Piece{}, err
		}
	}
}

func (r *Reader) flush() Piece {
	r.flushes, r.lingers = r.stream.flushes, false
	return Piece{Flush: true}
}

// TryNext returns the next piece, of at most most bytes, or an empty one where Next would
// wait or end. If full is set, it returns bytes in memory only when they fill a block,
// since large pieces cost less.
func (r *Reader) TryNext(most int, full bool) (Piece, error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack()
	switch {
	case s.aborted, full && !r.fills():
	case r.read < s.written:
		return r.take(most)
	case r.flushes != s.flushes:
		return r.flush(), nil
	}
	return Piece{}, nil
}

// fills reports whether the next block is full, or is in the file. It requires s.mu.
func (r *Reader) fills() bool {
	s := r.stream
	if r.read == s.written {
		return false
	}
	b := s.blocks[r.block-s.first]
	return b.Room() == 0 || !b.InMemory()
}

// Pending reports whether the stream has bytes or a flush that were not read.
func (r *Reader) Pending() bool {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.read < s.written || r.flushes != s.flushes
}

// Rest gives the memory of the stream back until the next write. No write may be in
// progress. It returns false if the stream has anything unread.
func (r *Reader) Rest() bool {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted || r.read < s.written || r.flushes != s.flushes {
		return false
	}
	s.giveBack()
	if len(s.blocks) > 0 { // the last one has room, and was read as far as it goes
		s.store.Free(s.blocks[0])
		s.blocks[0] = nil
		s.blocks = s.few[:0]
		s.first++
		r.block, r.offset = s.first, 0
	}
	r.release()
	return true
}

// Linger records whether bytes were sent to the client past the stream without a flush.
// FlushIdle counts for them too.
func (r *Reader) Linger(yes bool) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	r.lingers = yes
}

// take reads at most most bytes of the current block. It requires s.mu, and releases it
// while it reads a file.
func (r *Reader) take(most int) (Piece, error) {
	s := r.stream
	b := s.blocks[r.block-s.first]
	for r.offset == b.Len() { // the block was full and read to its end
		r.block, r.offset = r.block+1, 0
		b = s.blocks[r.block-s.first]
	}
	from := r.offset
	to := min(b.Len(), from+most)
	var data []byte
	var err error
	if b.InMemory() {
		data, err = s.store.Read(b, from, to, nil)
	} else {
		if r.buf == nil {
			r.buf = spool.NewBuffer()
		}
		s.mu.Unlock()
		data, err = s.store.Read(b, from, to, r.buf[:])
		s.mu.Lock()
	}
	if err != nil {
		return Piece{}, err
	}
	r.offset = to
	r.read += int64(to - from)
	flush := r.flushes != s.flushes && r.read >= s.flushed
	if flush {
		r.flushes = s.flushes
	}
	r.lingers = !flush
	return Piece{Data: data, Flush: flush}, nil
}

// release gives the reader's buffer back.
func (r *Reader) release() {
	if r.buf != nil {
		spool.FreeBuffer(r.buf)
		r.buf = nil
	}
}

// await sleeps until something may have changed. It requires s.mu, and releases it
// meanwhile.
func (r *Reader) await(left <-chan struct{}) error {
	s := r.stream
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	r.waiting = true
	var idle <-chan time.Time
	if r.lingers && r.FlushIdle > 0 {
		timer := time.NewTimer(r.FlushIdle)
		defer timer.Stop()
		idle = timer.C
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	var err error
	select {
	case <-r.wake:
		return nil
	case <-left:
		err = ErrLeft
	case <-idle:
		err = errIdle
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.waiting {
		<-r.wake // the code that cleared waiting sends it
	}
	r.waiting = false
	return err
}

// giveBack frees the blocks that the reader has read. It requires s.mu.
func (s *Stream) giveBack() {
	r := s.reader
	for len(s.blocks) > 0 && s.first <= r.block {
		b := s.blocks[0]
		through := s.first < r.block || (r.offset == b.Len() && b.Room() == 0)
		if !through {
			return
		}
		s.store.Free(b)
		s.blocks[0] = nil
		s.blocks = s.blocks[1:]
		if s.first == r.block {
			r.block, r.offset = r.block+1, 0
		}
		s.first++
		s.wakeWriter()
	}
}
