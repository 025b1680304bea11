package serving

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// cancelError is the cause of a cancel from outside, by a timeout or an operator.
type cancelError struct{ reason offloader.Reason }

func (e *cancelError) Error() string { return fmt.Sprintf("%s: %s", e.reason, e.reason.Text()) }

// Unwrap makes it a cancel: a deadline would look like an upstream's failure to
// reverse_proxy, which might try again.
func (e *cancelError) Unwrap() error { return context.Canceled }

// Expired is called by the timer of one of the run's timeouts.
func (run *Run) Expired(t *timerlist.Timer) {
	switch {
	case t == &run.runTime:
		run.cancelFor(requests.RunTimeout)
	case run.notice():
	default:
		run.cancelFor(requests.FirstByteTimeout)
	}
}

// notice is called when a run goes on without a head for longer than most do. What costs
// more than those have to spare begins here: the watch over its client, and the rest of a
// long wait for the first byte. It reports false if that wait is over.
func (run *Run) notice() bool {
	if !run.Route.notices() || run.wasNoticed() {
		return false
	}
	run.watchClient()
	run.mu.Lock()
	defer run.mu.Unlock()
	if !run.ended && run.writer.Status() == 0 {
		run.noticed = true
		run.Route.firstByteRest.Start(&run.early, run)
	}
	return true
}

func (run *Run) wasNoticed() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.noticed
}

// stopEarly ends the wait for the head. It must not come between the end of one list
// and the begin of the other.
func (run *Run) stopEarly() {
	run.mu.Lock()
	defer run.mu.Unlock()
	list := run.Route.early()
	if run.noticed {
		list = run.Route.firstByteRest
	}
	list.Stop(&run.early)
}

func (run *Run) answerIfStuck() {
	run.mu.Lock()
	ended, reason := run.ended, run.late
	run.mu.Unlock()
	// A panic of the client's writer would end the process here, and there is
	// nobody to hand it to: the goroutine that could is stuck.
	defer func() { _ = recover() }()
	if !ended {
		run.writer.AnswerStuck(run.emergency(reason))
	}
}

// emergency is the answer in the place of a run that does not return: what can be said
// without the outer handlers and the state of the request, which belong to the
// goroutine that is stuck.
func (run *Run) emergency(reason offloader.Reason) (status int, text string, fields http.Header) {
	a := run.Route.answerFor(reason)
	fields = make(http.Header)
	run.describe(fields, a, reason, time.Since(run.arrived)-run.waited)
	if run.grpc {
		setCallStatus(fields, a.grpc, reason.Text())
		return http.StatusOK, "", fields
	}
	return a.status, http.StatusText(a.status) + "\n", fields
}

// HeadSent ends the wait for the first byte.
func (run *Run) HeadSent(status int, _ bool) {
	run.stopEarly()
	if run.judgeHead(status) == offloader.Success {
		run.permit.Began()
	}
	if isEndless(run.writer.Header()) {
		run.beginEndless()
	}
}

// beginEndless notes that the answer is a stream of events.
func (run *Run) beginEndless() {
	run.permit.Untimed()
	run.mu.Lock()
	run.endless = true
	goesOn := run.watchExit()
	run.mu.Unlock()
	if !goesOn {
		run.abandonFor(pools.ErrExiting)
	}
}

// GoesOn watches the client of a response that has no helper to notice that it
// leaves. Most are over before this. A client that left before the answer began is of
// no concern to a watch that told so then.
func (run *Run) GoesOn() {
	switch {
	case run.rule() == abandonFinish, run.body.broken != nil: // it is known to have left
	case run.client.Context().Err() != nil:
		run.abandon()
	default:
		run.watchClient()
	}
}

// Upgraded takes the run out of the pool, unless upgrades hold their permits.
func (run *Run) Upgraded() {
	if run.Route.HoldUpgrades {
		return
	}
	run.Route.RunTime.Stop(&run.runTime)
	run.upgraded = true
	run.progress.Enter(requests.PhaseUpgraded, time.Now())
	run.Route.Pool.Runs.Observe(run.runTook().Seconds())
	run.permit.Detach()
}

// ClientLost cancels a run whose response nobody takes any more.
func (run *Run) ClientLost() {
	if run.rule() != abandonFinish {
		run.abandon()
	}
}
