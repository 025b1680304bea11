package serving

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// No client receives the answer of an abandoned run: the client has left, or was answered
// without the run. Most backends continue their work, so the run keeps its permit until the
// backend has answered or its connection has ended, for abandon_timeout at most.

// forgetAfter is how long the run waits for the end of a connection that it has cancelled.
// Some transports do not close it.
const forgetAfter = 100 * time.Millisecond

// cutOff separates the run from its client: its handlers return. The backend works on if it
// presumably would not notice a cancel; otherwise its connection is closed. It requires
// run.mu.
func (e *ending) cutOff(cause error) {
	e.cause = cause
	e.run.permit.Abandon()
	lasts := e.run.backend.outlasts()
	if x := e.run.backend.current; x == nil || !x.Leave(cause) || !lasts || x.Endless() || !e.watchExit() {
		e.cancelBackend(cause)
	}
	e.losePatience()
	if e.run.body.passed != nil && !e.run.body.passed.Ended() {
		e.run.body.passed.Stop()
	}
}

// cancelBackend closes the backend's connection. It requires run.mu.
func (e *ending) cancelBackend(cause error) {
	e.run.backend.cancelled = true
	e.cancel(cause)
}

// losePatience starts abandon_timeout, after which an abandoned run is given up. It
// requires run.mu.
func (e *ending) losePatience() {
	if d := e.run.Route.AbandonTimeout; d > 0 && e.patience == nil {
		e.patience = time.AfterFunc(d, func() { e.giveUp(errGivenUp) })
	}
}

// giveUp ends an abandoned run and its work in the backend. It reports false if the run is
// over.
func (e *ending) giveUp(cause error) bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended && !e.run.backend.anyLeft() {
		return false
	}
	if e.cause == nil {
		e.cause, e.abandoned = cause, true
		e.run.writer.Kill(cause)
		e.run.permit.Abandon()
	}
	if errors.Is(cause, errGivenUp) && e.run.writer.Status() == 0 {
		e.run.permit.ReportTimeout()
	}
	e.cancelBackend(cause)
	for _, x := range e.run.backend.exchanges() {
		if x.Leave(cause) {
			time.AfterFunc(forgetAfter, x.Forget)
		}
	}
	return true
}

// watchClient makes the run notice that its client leaves. A job has none.
func (e *ending) watchClient() {
	if e.run.ticket.Patient {
		return
	}
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.unwatch == nil && !e.run.ended {
		e.unwatch = context.AfterFunc(e.run.client.Context(), e.clientLeft)
	}
}

// clientLeft decides whether a run whose client has left is cut off or goes on.
func (e *ending) clientLeft() {
	e.run.mu.Lock()
	notices := e.notices
	e.run.mu.Unlock()
	rule := e.run.rule()
	switch {
	case e.run.body.broken == nil && rule != abandonFinish && (rule == abandonCancel || notices || e.run.writer.Status() != 0):
		e.abandon()
	case !e.presumeBlocked():
		e.giveUp(pools.ErrExiting)
	}
}

// presumeBlocked lets a run go on whose client has left before the answer began, since its
// backend presumably works on. It returns false if the process is exiting: the exit does
// not wait for abandoned runs.
func (e *ending) presumeBlocked() bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended || e.cause != nil {
		return true
	}
	e.run.permit.Abandon()
	if e.run.rule() == abandonFinish {
		return true
	}
	e.losePatience()
	return e.watchExit()
}

func (e *ending) abandon() { e.abandonFor(errClientLeft) }

// abandonFor cuts off a run whose answer no client receives.
func (e *ending) abandonFor(cause error) {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended || e.cause != nil {
		return
	}
	e.abandoned = true
	e.run.writer.Kill(cause)
	e.cutOff(cause)
}

// watchRate checks at intervals, until the answer begins, whether a body that is passed on
// comes fast enough: a slow client must not keep the permit while others wait. After that,
// client and backend may be silent as long as they like.
func (e *ending) watchRate() {
	body := &e.run.body
	if body.passed == nil || body.kind == nil || e.run.Route.Process.Budget.Limits().MinRate == 0 {
		return
	}
	body.passed.Watch(func() bool {
		if body.passed.Ended() || e.run.writer.Status() != 0 || e.isOver() {
			return false
		}
		slow := body.passed.TooSlow(e.run.Route.Process.Budget.Limits().MinRate) && e.run.Route.Pool.Gauges().Waiting > 0
		if slow {
			e.cutTooSlow()
		}
		return !slow
	})
}

// cutTooSlow ends the run because its client sends too slowly, unless its answer has just
// begun.
func (e *ending) cutTooSlow() {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended || e.cause != nil || !e.run.writer.KillBeforeHead(errTooSlow) {
		return
	}
	e.tooSlow = true
	e.run.body.passed.Fail()
	e.run.permit.Report(offloader.Excluded)
	e.cutOff(errTooSlow)
}

// isOver reports whether the run has ended, or was cut off from its client.
func (e *ending) isOver() bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	return e.run.ended || e.cause != nil
}

// wasCutOff reports whether the run was cut off from its client.
func (e *ending) wasCutOff() bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	return e.cause != nil
}

// An event stream ends when its client leaves, and its client connects again when it is
// cut. When the process exits, such streams are cut at once, as reverse_proxy closes
// upgraded connections: otherwise they would use up the grace period, which may have no
// end. Abandoned runs are ended too, since no client receives their answers.

// watchExit ends the run when the process exits. It returns false if the process is exiting
// already. It requires run.mu.
func (e *ending) watchExit() bool {
	if e.run.Route.Process.Exit.Context.Err() != nil {
		return false
	}
	if e.unwatchExit == nil {
		e.unwatchExit = context.AfterFunc(e.run.Route.Process.Exit.Context, e.exit)
	}
	return true
}

// exit is called when the process exits. It ends an event stream, or gives an abandoned run
// up.
func (e *ending) exit() {
	e.run.mu.Lock()
	streams := e.run.endless && e.cause == nil && !e.run.ended
	e.run.mu.Unlock()
	if streams {
		e.abandonFor(pools.ErrExiting)
		return
	}
	e.giveUp(pools.ErrExiting)
}
