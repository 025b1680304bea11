package caddymodule

import (
	"context"
	"errors"
	"time"
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
func (run *run) rule() abandonRule {
	for r := run; r != nil; r = r.outer {
		if r.route.OnAbandon != abandonInherit {
			return r.route.OnAbandon
		}
	}
	return abandonAuto
}

// cutOff takes the run from its client. Its handlers return, and the backend works on
// if it is presumed to. It requires run.mu.
func (run *run) cutOff(cause error) {
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
func (run *run) cancelBackend(cause error) {
	run.cancelled = true
	run.cancel(cause)
}

// losePatience begins the time after which an abandoned run is given up. It requires
// run.mu.
func (run *run) losePatience() {
	if d := run.route.AbandonTimeout; d > 0 && run.patience == nil {
		run.patience = time.AfterFunc(d, func() { run.giveUp(errGivenUp) })
	}
}

// giveUp ends a run that nobody waits for, whatever its backend does. It reports false
// if the run is over.
func (run *run) giveUp(cause error) bool {
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
func (run *run) watchClient() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.unwatch == nil && !run.ended {
		run.unwatch = context.AfterFunc(run.client.Context(), run.clientLeft)
	}
}

// clientLeft decides about a run whose client has left.
func (run *run) clientLeft() {
	run.mu.Lock()
	notices := run.notices
	run.mu.Unlock()
	rule := run.rule()
	switch {
	case run.broken == nil && rule != abandonFinish && (rule == abandonCancel || notices || run.writer.Status() != 0):
		run.abandon()
	case !run.presumeBlocked():
		run.giveUp(errExiting)
	}
}

// presumeBlocked lets a run go on whose client left before its answer. It reports false
// if the process ends, which nothing is waited for by then.
func (run *run) presumeBlocked() bool {
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

func (run *run) abandon() { run.abandonFor(errClientLeft) }

// abandonFor cuts off a run whose answer is of no use any more.
func (run *run) abandonFor(cause error) {
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
func (run *run) hold() bool {
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
func (run *run) giveBack() {
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
	run.route.Pool.observeRun(time.Since(run.arrived.Add(run.waited)), run.upgraded)
	run.cancel(errRunEnded)
}
