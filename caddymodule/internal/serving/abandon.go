package serving

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// An abandoned run is one whose answer is of no use any more: its client has left, or
// was answered without it. Most backends work on all the same, so the run keeps its
// permit until the backend has answered, or its connection has ended, or its patience
// has: abandon_timeout after it was abandoned.

// noticeAfter is how long a run goes on before its client is watched. Most are over by
// then, and a watch costs more than a run has to spare.
const noticeAfter = time.Second

// forgetAfter is how long a backend that was let go may take to end its connection.
// Some transports do not close it.
const forgetAfter = 100 * time.Millisecond

// rule is what on_abandon says for the run. A pool inside another one that says nothing
// follows it.
func (run *Run) rule() abandonRule {
	for r := run; r != nil; r = r.outer {
		if r.Route.OnAbandon != abandonInherit {
			return r.Route.OnAbandon
		}
	}
	return abandonAuto
}

// cutOff takes the run from its client. Its handlers return, and the backend works on
// if it is presumed to. It requires run.mu.
func (run *Run) cutOff(cause error) {
	run.cause = cause
	run.permit.Abandon()
	lasts := run.outlasts()
	if x := run.exchange; x == nil || !x.Leave(cause) || !lasts || x.Endless() || !run.watchExit() {
		run.cancelBackend(cause)
	}
	run.losePatience()
	if run.unspooled != nil && !run.unspooled.ended() {
		run.unspooled.stop()
	}
}

// cancelBackend closes the backend's connection. It requires run.mu.
func (run *Run) cancelBackend(cause error) {
	run.cancelled = true
	run.cancel(cause)
}

// losePatience begins the time after which an abandoned run is given up. It requires
// run.mu.
func (run *Run) losePatience() {
	if d := run.Route.AbandonTimeout; d > 0 && run.patience == nil {
		run.patience = time.AfterFunc(d, func() { run.giveUp(errGivenUp) })
	}
}

// giveUp ends a run that nobody waits for, whatever its backend does. It reports false
// if the run is over.
func (run *Run) giveUp(cause error) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended && !run.held {
		return false
	}
	if run.cause == nil {
		run.cause, run.abandoned = cause, true
		run.writer.Kill(cause)
		run.permit.Abandon()
	}
	if errors.Is(cause, errGivenUp) && run.writer.Status() == 0 {
		run.permit.ReportTimeout()
	}
	run.cancelBackend(cause)
	for _, x := range run.exchanges() {
		if x.Leave(cause) {
			time.AfterFunc(forgetAfter, x.Forget)
		}
	}
	return true
}

// watchClient makes the run notice that its client leaves.
func (run *Run) watchClient() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.unwatch == nil && !run.ended {
		run.unwatch = context.AfterFunc(run.client.Context(), run.clientLeft)
	}
}

// clientLeft decides about a run whose client has left.
func (run *Run) clientLeft() {
	run.mu.Lock()
	notices := run.notices
	run.mu.Unlock()
	rule := run.rule()
	switch {
	case run.broken == nil && rule != abandonFinish && (rule == abandonCancel || notices || run.writer.Status() != 0):
		run.abandon()
	case !run.presumeBlocked():
		run.giveUp(pools.ErrExiting)
	}
}

// presumeBlocked lets a run go on whose client left before its answer. It reports false
// if the process ends, which nothing is waited for by then.
func (run *Run) presumeBlocked() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.cause != nil {
		return true
	}
	run.permit.Abandon()
	if run.rule() == abandonFinish {
		return true
	}
	run.losePatience()
	return run.watchExit()
}

func (run *Run) abandon() { run.abandonFor(errClientLeft) }

// abandonFor cuts off a run whose answer is of no use any more.
func (run *Run) abandonFor(cause error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.cause != nil {
		return
	}
	run.abandoned = true
	run.writer.Kill(cause)
	run.cutOff(cause)
}

// hold keeps the permit of a run whose handlers have returned before its backend has
// answered. It reports whether there is a reason to. It requires run.mu.
func (run *Run) hold() bool {
	run.held = run.anyLeft()
	if run.held {
		run.permit.Abandon()
		run.losePatience()
		if run.cause == nil && !run.outlasts() { // a run around it has left
			run.cancelBackend(errRunEnded)
		}
	}
	return run.held
}

// giveBack gives the permit back: nothing of the run goes on in the backend.
func (run *Run) giveBack() {
	run.mu.Lock()
	cancelled, patience, unwatchExit := run.cancelled, run.patience, run.unwatchExit
	run.mu.Unlock()
	if patience != nil {
		patience.Stop()
	}
	if unwatchExit != nil {
		unwatchExit()
	}
	if cancelled {
		run.permit.ReleaseCancelled(run.outcome)
	} else {
		run.permit.Release(run.outcome)
	}
	run.Route.Pool.ObserveRun(time.Since(run.arrived.Add(run.waited)), run.upgraded)
	run.cancel(errRunEnded)
}

// What a run and its exchanges with the backend have to tell each other. An exchange
// belongs to the innermost of nested runs, and keeps the permits of all.

// Begin is called when a request of the run is about to be sent to the backend.
func (run *Run) Begin(x *exchange.Exchange) error {
	for r := run; r != nil; r = r.outer {
		if err := r.begin(x); err != nil {
			run.End(x, false)
			return err
		}
	}
	run.sent = x
	return nil
}

func (run *Run) begin(x *exchange.Exchange) error {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.cause != nil {
		return run.cause
	}
	if run.exchange != nil {
		if run.earlier == nil {
			run.earlier = new(earlierOnes)
		}
		run.earlier.exchanges = append(run.earlier.exchanges, run.exchange)
	}
	run.exchange = x
	return nil
}

// current is the exchange in which the run sends, nil without one. Only a handler that
// has its answer, or no use for it, begins another one.
func (run *Run) current() *exchange.Exchange {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.exchange
}

// anyLeft reports whether the backend still works for the run, which has left. It
// requires run.mu.
func (run *Run) anyLeft() bool {
	return slices.ContainsFunc(run.exchanges(), (*exchange.Exchange).Left)
}

// exchanges are those that are not over. It requires run.mu.
func (run *Run) exchanges() []*exchange.Exchange {
	switch {
	case run.earlier != nil && run.exchange != nil:
		return append(slices.Clone(run.earlier.exchanges), run.exchange)
	case run.earlier != nil:
		return run.earlier.exchanges
	case run.exchange != nil:
		return []*exchange.Exchange{run.exchange}
	}
	return nil
}

// Sent counts a send to the backend.
func (run *Run) Sent() {
	for r := run; r != nil; r = r.outer {
		r.sends.Add(1)
		r.Route.Pool.Sends.Add(1)
	}
}

// Resends is how often a request may be sent again.
func (run *Run) Resends() int { return run.Route.Resends }

// Endless reports whether an answer goes on until its client leaves.
func (run *Run) Endless(h http.Header) bool { return isEndless(h) || bridge.IsGRPC(h) }

// Outlasts reports whether the backend of a run that ends before its answer is presumed
// to work on, so that the rest is read.
func (run *Run) Outlasts() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.outlasts() && (run.unspooled == nil || run.unspooled.ended())
}

// outlasts requires run.mu. A backend that takes no more of a body is at work; one that
// waits for more gets none.
func (run *Run) outlasts() bool {
	return run.rule() != abandonCancel && !run.notices && !run.cancelled && !run.endless &&
		!run.grpc && (run.unspooled == nil || !run.unspooled.waits())
}

// End is called when the backend has answered or its connection has ended. cut says
// that it was made to.
func (run *Run) End(x *exchange.Exchange, cut bool) {
	for r := run; r != nil; r = r.outer {
		r.backendEnded(x, cut)
	}
}

func (run *Run) backendEnded(x *exchange.Exchange, cut bool) {
	run.mu.Lock()
	if run.exchange == x {
		run.exchange = nil
	} else if run.earlier != nil {
		run.earlier.exchanges = slices.DeleteFunc(run.earlier.exchanges, func(other *exchange.Exchange) bool { return other == x })
	}
	run.cancelled = run.cancelled || cut || (run.unspooled != nil && run.unspooled.cutShort())
	last := run.held && len(run.exchanges()) == 0
	run.held = run.held && !last
	gone := run.gone // if it is not, leave disposes of it
	run.mu.Unlock()
	if !last {
		return
	}
	run.giveBack()
	if gone {
		run.dispose()
	}
}

var _ exchange.Owner = (*Run)(nil)
