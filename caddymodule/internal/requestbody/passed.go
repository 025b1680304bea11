package requestbody

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// flowsFor is how long after its last bytes a body counts as on its way. After that, it is
// the backend that does not read on.
const flowsFor = 200 * time.Millisecond

// ErrRunEnded is the error of reads after [Passed.Stop], and the cause of the end of a
// run's context. It wraps context.Canceled, so that handlers do not take it for a failure
// of the backend.
var ErrRunEnded = fmt.Errorf("the run has ended: %w", context.Canceled)

// Passed is a request body that is not spooled, but passed on to the run as it arrives. It
// records whether the client fails, which handlers report like a failure of the backend,
// and whether the run waits for the client.
type Passed struct {
	r      *http.Request // the client's, which has the body at the time of the first read
	w      http.ResponseWriter
	own    io.ReadCloser // as it came
	began  time.Time
	permit *offloader.Permit // of the run, uncapped at the body's end

	mu  sync.Mutex    // held by the read under way
	src io.ReadCloser // guarded by mu, nil before the first read

	failed  atomic.Bool
	reading atomic.Int32 // reads under way
	last    atomic.Int64 // when the last read ended, after began; 0 without
	rate    rate
	watch   *time.Timer // over the rate, nil without
	atEnd   atomic.Bool
	stopped atomic.Bool
	closing atomic.Uint32 // one of closedNot to closedNoMore
}

// The states of closing: which side may still close the body.
const (
	closedNot    = iota // a handler of the run
	closedByRun         // none: one has closed it
	closedNoMore        // the server, since the run is over
)

// PassOn returns the body of a client's request for the run that holds the permit.
func PassOn(w http.ResponseWriter, r *http.Request, permit *offloader.Permit) *Passed {
	return &Passed{r: r, w: w, own: r.Body, began: time.Now(), permit: permit}
}

// Read reads from the client, or from a body that a placeholder has put in its place with
// the bytes that it has read.
func (b *Passed) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped.Load() {
		return 0, ErrRunEnded
	}
	if b.src == nil {
		b.src = b.r.Body
	}
	b.rate.begin(b.age())
	b.reading.Add(1)
	n, err := b.src.Read(p)
	now := b.age()
	b.last.Store(int64(now))
	b.reading.Add(-1)
	b.rate.end(n, now)
	switch {
	case errors.Is(err, io.EOF):
		b.atEnd.Store(true)
		b.permit.Uncap()
	case err != nil && !b.stopped.Load():
		b.Fail()
	}
	return n, err
}

func (b *Passed) age() time.Duration { return time.Since(b.began) }

// Close closes the client's body, at most once: a transport may call it late, when the
// request has gone on to other handlers, which may have set another body. After Stop it
// does nothing on HTTP/3, where it would make the client end its upload before it gets the
// answer.
func (b *Passed) Close() error {
	if !b.closing.CompareAndSwap(closedNot, closedByRun) {
		return nil
	}
	if b.stopped.Load() && b.r.ProtoMajor >= 3 {
		return nil
	}
	return b.own.Close()
}

// Fail records that the client is at fault for the end of the run.
func (b *Passed) Fail() { b.failed.Store(true) }

// Failed reports whether the body did not arrive in time, or broke off.
func (b *Passed) Failed() bool { return b.failed.Load() }

// Ended reports whether the run has read the body to its end.
func (b *Passed) Ended() bool { return b.atEnd.Load() }

// Waits reports whether the run waits for more bytes of the body.
func (b *Passed) Waits() bool { return b.reading.Load() > 0 }

// Flows reports whether the body is still on its way: more is to come, and the backend
// takes the bytes that arrive.
func (b *Passed) Flows() bool {
	if b.Ended() {
		return false
	}
	last := time.Duration(b.last.Load())
	return b.Waits() || (last > 0 && b.age()-last < flowsFor)
}

// Stop makes a read fail that waits for the client, and all later reads.
func (b *Passed) Stop() {
	b.stopped.Store(true) // before a read fails, and is taken for the client's fault
	if http.NewResponseController(b.w).SetReadDeadline(time.Now()) != nil {
		b.stopped.Store(false)
	}
}

// CutShort reports whether Stop has ended the body before its end.
func (b *Passed) CutShort() bool { return b.stopped.Load() && !b.Ended() }

// Settle waits for a read that Stop makes to fail, and ends all reading of the body:
// handlers in front and the server must not find a transport reading when the request is
// over.
func (b *Passed) Settle() {
	if b.watch != nil {
		b.watch.Stop()
	}
	if b.Ended() {
		b.stopped.Store(true)
	}
	if b.stopped.Load() {
		b.mu.Lock()
		b.mu.Unlock() //nolint:staticcheck // it is the wait that matters
	}
	b.leave()
}

// leave gives the body back to the server when the run is over. On HTTP/1 the next request
// follows the body, so the server reads the body to its end, or closes the connection.
// After Stop and a close by a transport the server may not notice that the end is missing:
// then leave makes it close the connection.
func (b *Passed) leave() {
	if !b.closing.CompareAndSwap(closedNot, closedNoMore) && b.CutShort() && b.r.ProtoMajor == 1 {
		bridge.LeaveBody(b.w)
	}
}

// Watch calls check at intervals, until check returns false. It begins when the body can
// first count as too slow, and must be called before the body is read.
func (b *Passed) Watch(check func() bool) {
	b.watch = time.AfterFunc(rateAfter, func() {
		if check() {
			b.watch.Reset(rateCheck)
		}
	})
}

// TooSlow reports whether a read waits for a client that has sent fewer than least bytes a
// second.
func (b *Passed) TooSlow(least int64) bool { return b.rate.tooSlow(least, b.age()) }
