package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// cancelError is the cause of a cancel from outside, by a timeout or an operator.
type cancelError struct{ reason offloader.Reason }

func (e *cancelError) Error() string { return fmt.Sprintf("%s: %s", e.reason, e.reason.Text()) }

// Unwrap makes it a cancel: a deadline would look like an upstream's failure to
// reverse_proxy, which might try again.
func (e *cancelError) Unwrap() error { return context.Canceled }

// Expired is called by the timer of one of the run's timeouts.
func (run *run) Expired(t *offloader.Timeout) {
	reason := offloader.RunTimeout
	if t == &run.firstByte {
		reason = offloader.FirstByteTimeout
	}
	run.cancelFor(reason)
}

func (run *run) answerIfStuck() {
	run.mu.Lock()
	ended, reason := run.ended, run.late
	run.mu.Unlock()
	// A panic of the client's writer would end the process here, and there is
	// nobody to hand it to: the goroutine that could is stuck.
	defer func() { _ = recover() }()
	if !ended {
		status := run.handler.answerFor(reason).status
		run.writer.AnswerStuck(status, http.StatusText(status)+"\n", http.Header{requestIDField: {run.id().String()}})
	}
}

// HeadSent ends the wait for the first byte.
func (run *run) HeadSent(int, bool) {
	run.handler.firstByte.Stop(&run.firstByte)
	if isEndless(run.writer.Header()) {
		run.endless = true
		endlessRuns.add(run)
	}
}

// GoesOn watches the client of a response that has no helper to notice that it
// leaves. Most are over before this.
func (run *run) GoesOn() {
	if run.handler.OnAbandon != "finish" {
		run.watchClient()
	}
}

// Upgraded takes the run out of the pool, unless upgrades hold their permits.
func (run *run) Upgraded() {
	if run.handler.Upgrades == "hold" {
		return
	}
	run.handler.runTime.Stop(&run.runTime)
	run.upgraded = true
	run.progress.enter(phaseUpgraded, time.Now())
	run.handler.pool.runs.Observe(run.runTook().Seconds())
	run.permit.Upgrade()
}

// ClientLost cancels a run whose response nobody takes any more.
func (run *run) ClientLost() {
	if run.handler.OnAbandon != "finish" {
		run.abandon()
	}
}

// watchClient cancels the run when the client leaves.
func (run *run) watchClient() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.unwatch == nil && !run.ended {
		run.unwatch = context.AfterFunc(run.client.Context(), run.abandon)
	}
}

func (run *run) abandon() { run.abandonFor(errClientLeft) }

// abandonFor cancels a run whose answer is of no use any more.
func (run *run) abandonFor(cause error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.late != 0 {
		return
	}
	run.abandoned = true
	run.writer.Kill(cause)
	run.permit.Abandon()
	run.cancel(cause)
}
