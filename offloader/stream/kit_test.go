package stream_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	block  = spool.BlockSize
	second = time.Second
)

// whole is a piece of a whole block, less one of some bytes less.
var whole = less(0)

func less(n int) string { return strconv.Itoa(block - n) }

var errCut = errors.New("cut short")

// bytesOf returns n bytes in an order that shows if some are lost or come twice.
func bytesOf(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i%251 + 1)
	}
	return p
}

func roomyLimits() spool.Limits { return spool.Limits{Memory: 1 << 30, Disk: 1 << 30} }

// scene is a stream in a bubble of virtual time, with a reader.
type scene struct {
	t      *testing.T
	budget *spool.Budget
	stream *stream.Stream
	reader *stream.Reader
	began  time.Time
}

// play runs a scene in parallel to others. At the end the stream is closed and
// all of the budget must have been given back.
func play(t *testing.T, name string, o stream.Options, act func(s *scene)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			if o.Budget == nil {
				limits := roomyLimits()
				limits.Dir = dir
				o.Budget = spool.NewBudget(limits)
			}
			s := &scene{t: t, budget: o.Budget, stream: stream.New(o), began: time.Now()}
			s.reader = s.stream.NewReader()
			act(s)
			s.stream.Abort(errCut) // for callers that still wait
			synctest.Wait()
			s.stream.Close()
			s.stream.Close() // does nothing
			s.wantUsage(spool.Usage{})
		})
	})
}

// wantUsage checks the usage, all of it by streams.
func (s *scene) wantUsage(want spool.Usage) {
	s.t.Helper()
	want.StreamMemory, want.StreamDisk = want.Memory, want.Disk
	if got := s.budget.Usage(); got != want {
		s.t.Errorf("%+v is used, want %+v", got, want)
	}
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// step is a call that may have to wait.
type step struct {
	s     *scene
	done  chan struct{}
	after time.Duration
	n     int
	err   error
	piece stream.Piece
}

func (s *scene) begin(call func(*step)) *step {
	st := &step{s: s, done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(st.done)
		call(st)
		st.after = time.Since(began)
	}()
	synctest.Wait()
	return st
}

func (s *scene) write(n int) *step {
	return s.begin(func(st *step) { st.n, st.err = s.stream.Write(bytesOf(n)) })
}

func (s *scene) next(r *stream.Reader) *step { return s.nextUnless(r, nil) }

func (s *scene) nextUnless(r *stream.Reader, left <-chan struct{}) *step {
	return s.begin(func(st *step) { st.piece, st.err = r.Next(left) })
}

func (st *step) waits() bool {
	select {
	case <-st.done:
		return false
	default:
		return true
	}
}

func (st *step) wantWaiting() {
	st.s.t.Helper()
	if !st.waits() {
		st.s.t.Errorf("it does not wait: %d bytes, piece of %d, error %v", st.n, len(st.piece.Data), st.err)
	}
}

// want checks the end of a write.
func (st *step) want(n int, err error, after time.Duration) {
	st.s.t.Helper()
	switch {
	case st.waits():
		st.s.t.Errorf("it waits, want %d bytes and error %v", n, err)
	case st.n != n || !errors.Is(st.err, err) || st.after != after:
		st.s.t.Errorf("wrote %d bytes with error %v after %s, want %d, %v and %s", st.n, st.err, st.after, n, err, after)
	}
}

// wantPiece checks the result of a read: the number of bytes, with a + if the reader must
// flush, or an error.
func (st *step) wantPiece(want string) {
	st.s.t.Helper()
	if got := st.text(); got != want {
		st.s.t.Errorf("%s in: the reader got %s, want %s", time.Since(st.s.began), got, want)
	}
}

func (st *step) text() string {
	switch {
	case st.waits():
		return "nothing yet"
	case st.err != nil:
		return st.err.Error()
	case st.piece.Flush:
		return fmt.Sprintf("%d+", len(st.piece.Data))
	}
	return fmt.Sprint(len(st.piece.Data))
}

// wantNext reads on and checks each piece.
func (s *scene) wantNext(r *stream.Reader, want ...string) {
	s.t.Helper()
	for _, w := range want {
		st := s.next(r)
		st.wantPiece(w)
		if st.waits() {
			s.t.FailNow()
		}
	}
}
