package serving

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// ending is how a run ends before its time: cancelled by a timeout or an operator, or
// abandoned, since no client receives its answer. The fields are guarded by run.mu.
type ending struct {
	run    *Run
	cancel context.CancelCauseFunc // cancels the backend; written before the run can end

	cause       error            // why the run was cut off from its client, nil if it was not
	late        offloader.Reason // why it was cancelled, zero if it was not
	abandoned   bool             // it was cut off because its client has left
	tooSlow     bool             // its client's body came too slowly, which has ended it
	notices     bool             // a handler behind stops when its context is cancelled
	patience    *time.Timer      // how long its permit can wait for the backend, nil without
	unwatch     func() bool      // ends the watch over the client's leaving, nil without
	unwatchExit func() bool      // ends the watch over the process's exit, nil without
}

// No client receives the answer of an abandoned run: the client has left, or was answered
// without it. Most backends continue their work, so the run keeps its permit until the
// backend has answered or its connection has ended, for abandon_timeout at most.

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
func (e *ending) cutOff(cause error) {
	e.cause = cause
	e.run.permit.Abandon()
	lasts := e.run.backend.outlasts()
	if x := e.run.backend.current; x == nil || !x.Leave(cause) || !lasts || x.Endless() || !e.watchExit() {
		e.cancelBackend(cause)
	}
	e.losePatience()
	if e.run.body.passed != nil && !e.run.body.passed.ended() {
		e.run.body.passed.stop()
	}
}

// cancelBackend closes the backend's connection. It requires run.mu.
func (e *ending) cancelBackend(cause error) {
	e.run.backend.cancelled = true
	e.cancel(cause)
}

// losePatience begins the time after which an abandoned run is given up. It requires
// run.mu.
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
	if e.run.ended && !e.run.backend.held {
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

// watchClient makes the run notice that its client leaves.
func (e *ending) watchClient() {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.unwatch == nil && !e.run.ended {
		e.unwatch = context.AfterFunc(e.run.client.Context(), e.clientLeft)
	}
}

// clientLeft decides about a run whose client has left.
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

// presumeBlocked lets a run go on whose client left before its answer. It reports false
// if the process ends, which nothing is waited for by then.
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

// cutTooSlow ends the run for its client's fault, unless its answer has just begun.
func (e *ending) cutTooSlow() {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended || e.cause != nil || !e.run.writer.KillBeforeHead(errTooSlow) {
		return
	}
	e.tooSlow = true
	e.run.body.passed.failed.Store(true)
	e.run.permit.Report(offloader.Excluded)
	e.cutOff(errTooSlow)
}

// isOver reports whether the run has ended, or was cut off from its client.
func (e *ending) isOver() bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	return e.run.ended || e.cause != nil
}
