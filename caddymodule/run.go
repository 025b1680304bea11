package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// stuckAfter is how long a run may take to return after its cancel before it is
// answered for. Handlers that notice cancels need microseconds.
const stuckAfter = 50 * time.Millisecond

// causes of a run's cancel. They wrap context.Canceled, so that reverse_proxy
// takes a cancel for the client's doing and not for an upstream's failure.
var (
	errClientLeft = fmt.Errorf("the client left: %w", context.Canceled)
	errRunEnded   = fmt.Errorf("the run has ended: %w", context.Canceled)
)

// run is one request on its way through a pool. Everything in it belongs to the
// goroutine of the connection unless it says otherwise.
type run struct {
	handler *Handler
	client  *http.Request // as it came
	w       http.ResponseWriter
	outer   *run // in which this one is nested, nil without
	body    *spool.Body
	writer  bridge.Writer
	ctx     detached

	arrived time.Time
	waited  time.Duration // until its permit, or until it was refused
	took    time.Duration // from there until next returned
	permit  offloader.Permit
	outcome offloader.Outcome
	reason  offloader.Reason // why it was rejected or timed out, zero if not
	left    bool             // the client did
	tells   *run             // whose numbers the placeholders show, in the outermost run

	firstByte offloader.Timeout
	runTime   offloader.Timeout
	cancel    context.CancelCauseFunc
	unwatch   func() bool // ends the watch over the client's leaving, nil without

	mu        sync.Mutex
	ended     bool             // next has returned
	late      offloader.Reason // the timeout that cancelled it
	abandoned bool             // cancelled because its client left
}

// detached is a request's context without its end, which a run has to survive.
// It leads handlers behind back to their run.
type detached struct {
	context.Context
	run *run
}

type runKey struct{}

func (detached) Deadline() (time.Time, bool) { return time.Time{}, false }
func (detached) Done() <-chan struct{}       { return nil }
func (detached) Err() error                  { return nil }

func (d *detached) Value(key any) any {
	if key == (runKey{}) {
		return d.run
	}
	return d.Context.Value(key)
}

// runOf returns the run that a context belongs to, nil outside of one.
func runOf(ctx context.Context) *run {
	run, _ := ctx.Value(runKey{}).(*run)
	return run
}

// NoticesCancel is for handlers behind "offload" that stop their work when the
// request's context is cancelled. With on_abandon auto a run of such a handler
// is cancelled as soon as its client leaves. Call it before the work starts.
func NoticesCancel(ctx context.Context) {
	if run := runOf(ctx); run != nil && run.handler.OnAbandon != "finish" {
		run.watchClient()
	}
}

func newRun(h *Handler, w http.ResponseWriter, r *http.Request, outer *run) *run {
	run := &run{handler: h, client: r, w: w, outer: outer, arrived: time.Now()}
	run.ctx = detached{Context: r.Context(), run: run}
	run.publish()
	return run
}

// admittedTo reports whether the run, or one around it, holds a permit of p.
func (run *run) admittedTo(p *offloader.Pool) bool {
	for ; run != nil; run = run.outer {
		if run.handler.pool == p {
			return true
		}
	}
	return false
}

// serve runs next under the permit. The run stays on this goroutine: Caddy's
// state of a request has no locks.
func (run *run) serve(next caddyhttp.Handler) error {
	h := run.handler
	run.writer.Init(run.w, run.client, bridge.Options{
		Stream: h.responseOptions(run.client), Nudge: h.nudge, Owner: run, Finish: h.OnAbandon == "finish",
	})
	if h.ServerTiming {
		run.writer.Header().Add("Server-Timing", run.serverTiming())
	}
	ctx, cancel := context.WithCancelCause(&run.ctx)
	run.cancel = cancel
	defer cancel(errRunEnded)
	if h.OnAbandon == "cancel" {
		run.watchClient()
	}
	h.firstByte.Start(&run.firstByte, run)
	h.runTime.Start(&run.runTime, run)

	returned := false
	defer func() {
		if !returned { // next panics, or ends the goroutine; let it, after this
			run.end(offloader.Failure)
			run.writer.Finish(errRunEnded)
		}
	}()
	err := next.ServeHTTP(&run.writer, run.forwarded(ctx))
	returned = true
	return run.finish(err)
}

// finish answers for a run that has returned.
func (run *run) finish(err error) error {
	run.end(run.judge(err))
	killed := run.reason != 0
	run.writer.Finish(run.cut())
	switch {
	case killed && run.writer.Answered():
		run.w.WriteHeader(http.StatusGatewayTimeout) // for the log alone
		return nil
	case killed && run.writer.Status() == 0:
		return run.handler.reject(run, run.handler.pool.Reject(run.reason))
	case killed:
		run.handler.pool.Reject(run.reason)
		panic(http.ErrAbortHandler) // the answer has begun: cut it short
	case run.left:
		run.logLeft()
		return nil
	}
	return err
}

// cut says whether the client must not take the response for complete.
func (run *run) cut() error {
	if run.reason != 0 {
		return errRunEnded
	}
	return nil
}

// end gives the permit back. From here on no timeout has an effect.
func (run *run) end(o offloader.Outcome) {
	run.mu.Lock()
	run.ended = true
	run.reason = run.late
	run.left = run.abandoned
	run.mu.Unlock()
	h := run.handler
	h.firstByte.Stop(&run.firstByte)
	h.runTime.Stop(&run.runTime)
	if run.unwatch != nil {
		run.unwatch()
	}
	run.took = time.Since(run.arrived) - run.waited
	switch {
	case run.reason != 0:
		run.outcome = offloader.Failure
	case run.left:
		run.outcome = offloader.Excluded
	default:
		run.outcome = o
		run.left = run.client.Context().Err() != nil && (run.writer.Lost() || run.writer.Status() == 0)
		run.permit.Release(o)
		return
	}
	run.permit.ReleaseCancelled(run.outcome)
}

// judge says what a returned run tells about the backend.
func (run *run) judge(err error) offloader.Outcome {
	status := run.writer.Status()
	switch {
	case err != nil:
		if status = statusOf(err); status < 500 {
			return offloader.Excluded
		}
	case !run.writer.Complete():
		return offloader.Failure
	}
	if status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
		return offloader.Failure
	}
	return offloader.Success
}

// statusOf is the status that Caddy answers an error with.
func statusOf(err error) int {
	var handlerErr caddyhttp.HandlerError
	if errors.As(err, &handlerErr) {
		return handlerErr.StatusCode
	}
	return http.StatusInternalServerError
}

// logLeft ends a request whose client is not there any more.
func (run *run) logLeft() {
	if !run.writer.HeadPassedOn() {
		run.w.WriteHeader(statusClientLeft) // for the log alone
	}
}

// openBody makes a transport able to send the body again on another connection.
func openBody(b *spool.Body) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return b.Open(), nil }
}

func (run *run) closeBody() {
	if run.body != nil {
		run.body.Close()
	}
}
