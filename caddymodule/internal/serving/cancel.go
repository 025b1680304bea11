package serving

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// cancelError is the cause of a cancel from outside, by a timeout or an operator.
type cancelError struct{ reason offloader.Reason }

func (e *cancelError) Error() string { return fmt.Sprintf("%s: %s", e.reason, e.reason.Text()) }

// Unwrap makes the error a context.Canceled. reverse_proxy would take a deadline for a
// failure of the upstream, and might send the request again.
func (e *cancelError) Unwrap() error { return context.Canceled }

// stuckAfter is the time between the cancel of a run and the answer that is sent in its
// place if it has not returned. Handlers that notice the cancel need microseconds.
const stuckAfter = 50 * time.Millisecond

// Interrupt cancels the request for an operator in any phase: it cuts an upload, rejects a
// waiter, cancels a run as a timeout does, cuts the rest of a response short. It reports
// the phase in which it found the request, and false between two phases: then call again.
func (rn *Run) Interrupt() (requests.Phase, bool) {
	if rn.ticket.Cancel() {
		return requests.PhaseWaiting, true
	}
	phase := rn.progress.Phase()
	switch phase {
	case requests.PhaseUploading:
		return phase, rn.ending.cutUpload()
	case requests.PhaseRunning, requests.PhaseUpgraded:
		return phase, rn.ending.cancelFor(offloader.Cancelled) || rn.ending.endAbandoned()
	case requests.PhaseStreaming:
		return phase, rn.ending.cutRest()
	}
	return phase, false
}

// cancelFor cancels the run for a reason from outside. It returns false if the run has
// ended or was cut off from its client before, or if only the first byte was awaited and
// has just come.
func (e *ending) cancelFor(reason offloader.Reason) bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	return e.cancelNow(reason)
}

// budgetOver ends the run because the time of its request is over.
func (e *ending) budgetOver() {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	e.byBudget = e.cause == nil && !e.run.ended
	e.cancelNow(requests.RunTimeout)
}

// cancelNow is cancelFor for callers that hold run.mu.
func (e *ending) cancelNow(reason offloader.Reason) bool {
	if e.run.ended || e.cause != nil {
		return false
	}
	cause := &cancelError{reason}
	// First the writer, then the run: what the handlers write after the cancel must not
	// reach the client.
	if reason == requests.FirstByteTimeout {
		if !e.run.writer.KillBeforeHead(cause) {
			return false // the answer has just begun
		}
	} else {
		e.run.writer.Kill(cause)
	}
	e.late = reason
	e.report(reason)
	e.cutOff(cause)
	time.AfterFunc(stuckAfter, reply{e.run}.answerIfStuck)
	return true
}

// report reports the outcome to the breaker immediately: the permit may come back much
// later.
func (e *ending) report(reason offloader.Reason) {
	if e.run.body.passed != nil && e.run.body.passed.Flows() {
		e.run.body.passed.Fail()
	}
	switch {
	case e.run.body.clientAtFault(), reason == offloader.Cancelled, limits{e.run}.excuse():
		e.run.permit.Report(offloader.Excluded)
	default:
		e.run.permit.ReportTimeout()
	}
}

// endAbandoned cancels a run that was cut off from its client and still holds its permit.
// It returns false if there is no such run.
func (e *ending) endAbandoned() bool {
	e.run.mu.Lock()
	held := e.run.backend.held
	e.run.mu.Unlock()
	return held && e.giveUp(&cancelError{offloader.Cancelled})
}

// cutUpload makes the reading of the body fail. endUpload then returns the reason to the
// reader.
func (e *ending) cutUpload() bool {
	e.run.mu.Lock()
	uploading := e.run.progress.Phase() == requests.PhaseUploading
	if uploading {
		e.late = offloader.Cancelled
	}
	e.run.mu.Unlock()
	if uploading {
		(&requestbody.Upload{W: e.run.w}).Stop()
	}
	return uploading
}

// cutRest ends a response whose run has ended, while the rest is still sent to the client.
func (e *ending) cutRest() bool {
	e.run.mu.Lock()
	streaming := e.run.progress.Phase() == requests.PhaseStreaming && !e.run.over
	if streaming {
		e.late = offloader.Cancelled
	}
	e.run.mu.Unlock()
	if streaming {
		e.run.writer.Cut(&cancelError{offloader.Cancelled})
	}
	return streaming
}

// handedOn notes that the client has its whole response, so that cutRest has no effect. It
// returns the reason for which the request was cancelled, zero if it was not.
func (e *ending) handedOn() offloader.Reason {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	e.run.over = true
	return e.late
}
