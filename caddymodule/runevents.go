package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// timeoutError is the cause of a cancel by a timeout.
type timeoutError struct{ reason offloader.Reason }

func (e *timeoutError) Error() string { return fmt.Sprintf("%s: %s", e.reason, e.reason.Text()) }

// Unwrap makes it a cancel: a deadline would look like an upstream's failure to
// reverse_proxy, which might try again.
func (e *timeoutError) Unwrap() error { return context.Canceled }

// Expired is called by the timer of one of the run's timeouts.
func (run *run) Expired(t *offloader.Timeout) {
	reason := offloader.RunTimeout
	if t == &run.firstByte {
		reason = offloader.FirstByteTimeout
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.late != 0 {
		return
	}
	cause := &timeoutError{reason}
	// First the writer, then the run: whatever it says of its cancel must not
	// reach the client.
	if reason == offloader.FirstByteTimeout {
		if !run.writer.KillBeforeHead(cause) {
			return // the answer has just begun
		}
	} else {
		run.writer.Kill(cause)
	}
	run.late = reason
	run.permit.Abandon()
	run.cancel(cause)
	time.AfterFunc(stuckAfter, run.answerIfStuck)
}

func (run *run) answerIfStuck() {
	run.mu.Lock()
	ended := run.ended
	run.mu.Unlock()
	if !ended {
		run.writer.AnswerStuck(http.StatusGatewayTimeout, http.StatusText(http.StatusGatewayTimeout)+"\n")
	}
}

// HeadSent ends the wait for the first byte. A response that is not spooled has
// no helper that would notice the client's leaving.
func (run *run) HeadSent(_ int, direct bool) {
	run.handler.firstByte.Stop(&run.firstByte)
	if direct && run.handler.OnAbandon != "finish" {
		run.watchClient()
	}
}

// Upgraded takes the run out of the pool, unless upgrades hold their permits.
func (run *run) Upgraded() {
	if run.handler.Upgrades == "hold" {
		return
	}
	run.handler.runTime.Stop(&run.runTime)
	run.permit.Release(offloader.Success)
}

// ClientLost cancels a run whose response nobody takes any more.
func (run *run) ClientLost() {
	if run.handler.OnAbandon != "finish" {
		run.abandon()
	}
}

// watchClient cancels the run when the client leaves.
func (run *run) watchClient() {
	if run.unwatch == nil {
		run.unwatch = context.AfterFunc(run.client.Context(), run.abandon)
	}
}

func (run *run) abandon() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.late != 0 {
		return
	}
	run.abandoned = true
	run.writer.Kill(errClientLeft)
	run.permit.Abandon()
	run.cancel(errClientLeft)
}
