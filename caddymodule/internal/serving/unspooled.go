package serving

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
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// flowsFor is how long after its last bytes a body counts as on its way. A backend that
// takes no more of it for longer is the one to wait for.
const flowsFor = 200 * time.Millisecond

// clientBody is the body of a request that is not spooled. It notes when it is
// the client that fails, which handlers report like a failure of the backend, and
// when the run waits for it.
type clientBody struct {
	run *Run
	own io.ReadCloser // as it came

	mu  sync.Mutex    // held by the read under way
	src io.ReadCloser // guarded by mu, nil before the first read

	failed  atomic.Bool
	reading atomic.Int32 // reads under way
	last    atomic.Int64 // when the last read ended, after the run's arrival; 0 without
	rate    requestbody.Rate
	watch   *time.Timer // over the rate, nil without
	atEnd   atomic.Bool
	stopped atomic.Bool
	closing atomic.Uint32 // one of closedNot to closedNoMore
}

// The side that may close a body.
const (
	closedNot    = iota // a handler of the run
	closedByRun         // none: one has closed it
	closedNoMore        // the server, since the run is over
)

// Read reads from the client, or what a placeholder has read before and put in the
// body's place.
func (b *clientBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped.Load() {
		return 0, errRunEnded
	}
	if b.src == nil {
		b.src = b.run.client.Body
	}
	b.rate.Begin(b.sinceArrival())
	b.reading.Add(1)
	n, err := b.src.Read(p)
	now := b.sinceArrival()
	b.last.Store(int64(now))
	b.reading.Add(-1)
	b.rate.End(n, now)
	switch {
	case errors.Is(err, io.EOF):
		b.atEnd.Store(true)
		b.run.permit.Uncap()
	case err != nil && !b.stopped.Load():
		b.failed.Store(true)
	}
	return n, err
}

func (b *clientBody) sinceArrival() time.Duration { return time.Since(b.run.arrived) }

// Close ends the client's body. A transport may do so when the request has gone on to
// other handlers, which may put another body in its place.
func (b *clientBody) Close() error {
	if !b.closing.CompareAndSwap(closedNot, closedByRun) {
		return nil
	}
	return b.own.Close()
}

// ended reports whether the backend has been sent all of it.
func (b *clientBody) ended() bool { return b.atEnd.Load() }

// waits reports whether the backend waits for more of it.
func (b *clientBody) waits() bool { return b.reading.Load() > 0 }

// flows reports whether more of it is still to come, and the backend takes what comes.
func (b *clientBody) flows() bool {
	if b.ended() {
		return false
	}
	last := time.Duration(b.last.Load())
	return b.waits() || (last > 0 && b.sinceArrival()-last < flowsFor)
}

// stop makes a read fail that waits for the client.
func (b *clientBody) stop() {
	if http.NewResponseController(b.run.w).SetReadDeadline(time.Now()) == nil {
		b.stopped.Store(true)
	}
}

// leave gives the body back to the server when the run is over. On HTTP/1 the next request
// is behind it: the server reads it to its end, or ends the connection. If it was
// stopped here and then closed by a transport, the server may not notice that its end is
// missing. Otherwise nothing differs from a request without the run.
func (b *clientBody) leave() {
	if !b.closing.CompareAndSwap(closedNot, closedNoMore) && b.cutShort() && b.run.client.ProtoMajor == 1 {
		bridge.LeaveBody(b.run.w)
	}
}

// cutShort reports whether the backend has not been sent all of it because it was stopped.
func (b *clientBody) cutShort() bool { return b.stopped.Load() && !b.ended() }

// settle waits for a read that was made to fail, and keeps transports from looking for
// more after the end. Handlers before this one, and the server, must not find a
// transport reading when the request is over.
func (b *clientBody) settle() {
	if b.watch != nil {
		b.watch.Stop()
	}
	if b.ended() {
		b.stopped.Store(true)
	}
	if b.stopped.Load() {
		b.mu.Lock()
		b.mu.Unlock() //nolint:staticcheck // it is the wait that matters
	}
	b.leave()
}

// errTooSlow ends a run whose client keeps its permit from others by a body that
// trickles.
var errTooSlow = fmt.Errorf("%w: %w", spool.ErrTooSlow, context.Canceled)

// watchRate looks now and then, until the answer has begun, whether the body comes fast
// enough. From then on client and backend may be silent for as long as they agree to.
func (b *clientBody) watchRate() {
	if pools.Budget.Limits().MinRate > 0 {
		b.watch = time.AfterFunc(requestbody.RateAfter, b.checkRate)
	}
}

func (b *clientBody) checkRate() {
	run := b.run
	switch {
	case b.ended() || run.writer.Status() != 0 || run.ending.isOver():
		return
	case b.rate.TooSlow(pools.Budget.Limits().MinRate, b.sinceArrival()) && run.Route.Pool.Gauges().Waiting > 0:
		run.ending.cutTooSlow()
		return
	}
	b.watch.Reset(requestbody.RateCheck)
}
