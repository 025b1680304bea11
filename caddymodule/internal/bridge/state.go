package bridge

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// Errors of a run that writes to a client that has left, or after the end of the response.
var (
	errLost     = errors.New("the client has left")
	errFinished = errors.New("the response has ended")
)

// mode is where the body goes.
type mode uint8

const (
	undecided mode = iota // no final head yet
	spooled               // the body goes to the stream, or past it while the client keeps up
	direct                // the body goes to the client at once
	discarded             // without a reader
	hijacked
)

// apart reports whether the run's bytes go to the stream or are dropped, so that the run
// does not write to the client directly.
func (m mode) apart() bool { return m == spooled || m == discarded }

// state is the progress of a response. Its methods decide, under its lock and on any
// goroutine, what a call may do, and leave the work to the caller: they call neither the
// client nor the owner. The exported ones are methods of Writer, which embeds the state.
type state struct {
	mu       sync.Mutex // guards the rest
	finishes bool       // Options.Finish, which needs no lock
	mode     mode
	answered uint16 // the status of AnswerStuck, zero if it has not answered
	finished bool   // by Finish
	left     bool   // the client was gone before the head
	lost     bool   // the body could not be handed on to its end
	failed   bool   // a write to the client has, or the client has left
	writing  bool   // the run is in a write to the client
	status   int
	dead     error // why no more bytes of the run may reach the client
	limits   limits
	stream   *stream.Stream // of a spooled body, nil without one; it may be locked under mu
	helper   chan struct{}  // closed when the helper has ended, nil without one
}

// head is a final head that the run has set.
type head struct {
	status   int
	declared int64          // Content-Length, -1 if not known
	left     bool           // the client has left
	stream   *stream.Stream // for the body, nil if that goes to the client at once
}

// standing is the mode and the limits of the body at one moment.
type standing struct {
	mode   mode
	limits limits
}

// late reports whether the deadline for writing a spooled body has passed.
func (s standing) late() bool { return s.mode.apart() && s.limits.late() }

// usable returns an error if the client must get no more bytes of the run. One reason is a
// write that has failed half-way: on HTTP/3 the next write would go on in the middle of a
// frame. It requires s.mu.
func (s *state) usable() error {
	switch {
	case s.dead != nil:
		return s.dead
	case s.finished:
		return errFinished
	case s.mode == direct && s.failed:
		return errLost
	}
	return nil
}

// awaitsHead reports whether the final head may still come.
func (s *state) awaitsHead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status == 0 && s.usable() == nil
}

// begin notes a final head and decides the mode of the body. first is true if the head has
// to be sent: from then on no other answer is possible.
func (s *state) begin(h head) (now standing, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 || s.usable() != nil || s.mode == hijacked {
		return standing{}, false
	}
	s.status, s.limits.declared, s.left = h.status, h.declared, h.left
	switch {
	case h.left:
		s.mode = discarded
	case h.stream == nil:
		s.mode = direct
	default:
		s.mode, s.stream = spooled, h.stream
		s.stream.SetWriteDeadline(s.limits.writeBy)
	}
	return standing{s.mode, s.limits}, true
}

// beginWrite counts n more bytes and returns how to write them. Like net/http it counts
// rejected bytes too.
func (s *state) beginWrite(n int) (standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable()
	switch {
	case err != nil:
	case s.mode == hijacked:
		err = http.ErrHijacked
	case s.limits.add(n) && n > 0 && s.mode == spooled:
		err = http.ErrContentLength
	}
	s.writing = err == nil && s.mode == direct
	return standing{s.mode, s.limits}, err
}

// beginFlush returns the mode for a flush, as beginWrite does for a write.
func (s *state) beginFlush() (standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable()
	s.writing = err == nil && s.mode == direct
	return standing{s.mode, s.limits}, err
}

// endWrite records that a write or a flush of a body that is not spooled has ended. After
// an error it reports whether the run may go on without a client.
func (s *state) endWrite(err error) (goesOn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if err == nil || errors.Is(err, http.ErrBodyNotAllowed) || s.limits.exceeded() {
		return false // an error of these is the run's own fault
	}
	s.failed = true
	if s.dead != nil {
		return false
	}
	s.lost = true
	if s.finishes {
		s.mode = discarded
	}
	return s.finishes
}

// beginHelp returns the channel that the helper closes at its end, nil if there must not
// be another helper.
func (s *state) beginHelp() chan<- struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.helper != nil || s.finished || s.mode != spooled {
		return nil
	}
	s.helper = make(chan struct{})
	return s.helper
}

// endHelp is called by a helper that wants to end before the body, so that another helper
// may follow. It returns false if the run has ended and waits for this helper.
func (s *state) endHelp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return false
	}
	s.helper = nil
	return true
}

// unlessFinished calls f, under the lock, unless the run has ended.
func (s *state) unlessFinished(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.finished {
		f()
	}
}

// breakOff records that the body has ended too early, or cannot be read or written; gone
// means that the client has left. It returns true for the first call.
func (s *state) breakOff(gone bool) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gone {
		s.failed = true
		if s.finishes {
			s.mode = discarded
		}
	}
	first = !s.lost
	s.lost = true
	return first
}

// KillBeforeHead cuts the run off from the client if its final head has not been sent. If
// it returns true, the caller has to write the answer.
func (s *state) KillBeforeHead(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 || s.dead != nil || s.mode == hijacked {
		return false
	}
	s.dead = cause
	return true
}

// kill cuts the run off from the client after its head. writing reports whether the run is
// in a write to the client.
func (s *state) kill(cause error) (m mode, writing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead == nil {
		s.dead = cause
	}
	return s.mode, s.writing
}

// beginAnswer returns the cause with which the run was killed, nil if AnswerStuck must not
// answer.
func (s *state) beginAnswer(status int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 || s.answered != 0 || s.finished || s.dead == nil {
		return nil
	}
	s.answered = uint16(status)
	return s.dead
}

// beginHijack is called before a hijack, so that the run is not killed while it hijacks:
// the client would get two answers. undo must be called if the hijack fails.
func (s *state) beginHijack() (before standing, undo func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = standing{s.mode, s.limits}
	switch {
	case s.usable() != nil:
		return before, nil, s.usable()
	case s.mode.apart():
		return before, nil, http.ErrNotSupported
	case s.mode == hijacked:
		return before, nil, http.ErrHijacked
	}
	s.mode = hijacked
	return before, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mode = before.mode
	}, nil
}

// setWriteDeadline notes the deadline, also for the stream. It returns where the body goes.
func (s *state) setWriteDeadline(t time.Time) mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.writeBy = t
	if s.stream != nil {
		s.stream.SetWriteDeadline(t)
	}
	return s.mode
}

// limits are the limits of the body that a run writes. They are guarded by the lock of the
// state.
type limits struct {
	declared int64     // Content-Length, -1 if not known
	written  int64     // by the run, also the bytes that were rejected
	writeBy  time.Time // when writes of a spooled body fail, zero for never
}

// add counts n more bytes. It reports whether these exceed the declared length.
func (l *limits) add(n int) (exceeded bool) {
	l.written += int64(n)
	return l.exceeded()
}

func (l *limits) exceeded() bool { return l.declared >= 0 && l.written > l.declared }

// complete reports whether the body has the declared length.
func (l *limits) complete() bool { return l.declared < 0 || l.written == l.declared }

// late reports whether the deadline has passed.
func (l *limits) late() bool { return !l.writeBy.IsZero() && !time.Now().Before(l.writeBy) }
