package serving

import (
	"context"
	"errors"
	"time"

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
	lasts := run.backend.outlasts()
	if x := run.backend.current; x == nil || !x.Leave(cause) || !lasts || x.Endless() || !run.watchExit() {
		run.cancelBackend(cause)
	}
	run.losePatience()
	if run.body.passed != nil && !run.body.passed.ended() {
		run.body.passed.stop()
	}
}

// cancelBackend closes the backend's connection. It requires run.mu.
func (run *Run) cancelBackend(cause error) {
	run.backend.cancelled = true
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
	if run.ended && !run.backend.held {
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
	for _, x := range run.backend.exchanges() {
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
	case run.body.broken == nil && rule != abandonFinish && (rule == abandonCancel || notices || run.writer.Status() != 0):
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
