package serving

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Interrupt cancels the request for an operator in any phase: it cuts an upload, rejects a
// waiter, cancels a run as a timeout does, cuts the rest of a response short. It reports
// the phase in which it found the request, and false between two phases: then call again.
func (run *Run) Interrupt() (requests.Phase, bool) {
	if run.ticket.Cancel() {
		return requests.PhaseWaiting, true
	}
	phase := run.progress.Phase()
	switch phase {
	case requests.PhaseUploading:
		return phase, run.ending.cutUpload()
	case requests.PhaseRunning, requests.PhaseUpgraded:
		return phase, run.ending.cancelFor(offloader.Cancelled) || run.ending.endAbandoned()
	case requests.PhaseStreaming:
		return phase, run.ending.cutRest()
	}
	return phase, false
}

// cancelFor ends the run from outside. It reports whether it did: not when the run
// has ended or was cut off before, or when only the first byte was to be waited
// for and has just come.
func (e *ending) cancelFor(reason offloader.Reason) bool {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	if e.run.ended || e.cause != nil {
		return false
	}
	cause := &cancelError{reason}
	// First the writer, then the run: whatever it says of its cancel must not
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
	if e.run.body.passed != nil && e.run.body.passed.flows() {
		e.run.body.passed.failed.Store(true)
	}
	switch {
	case e.run.body.clientAtFault(), reason == offloader.Cancelled:
		e.run.permit.Report(offloader.Excluded)
	default:
		e.run.permit.ReportTimeout()
	}
}

// endAbandoned ends a run that was cut off from its client and still has its permit.
// It reports whether there was one.
func (e *ending) endAbandoned() bool {
	e.run.mu.Lock()
	held := e.run.backend.held
	e.run.mu.Unlock()
	return held && e.giveUp(&cancelError{offloader.Cancelled})
}

// cutUpload makes the reading of the body fail. Its reader learns the reason from
// endUpload.
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

// cutRest cuts short what the client still gets after its run has ended.
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

// handedOn ends the phase in which cutRest works. It returns why the request was
// ended from outside, zero if it was not.
func (e *ending) handedOn() offloader.Reason {
	e.run.mu.Lock()
	defer e.run.mu.Unlock()
	e.run.over = true
	return e.late
}

// An event stream ends when its client leaves, and its client connects again when it is
// cut. When the process exits such streams are cut at once, as reverse_proxy closes upgraded
// connections: otherwise they take all of the grace period, which may be endless too. So
// are abandoned runs, whose answers are of no use.

// watchExit makes the exit of the process end the run. It reports false if the process
// exits already. It requires run.mu.
func (e *ending) watchExit() bool {
	if pools.ExitContext.Err() != nil {
		return false
	}
	if e.unwatchExit == nil {
		e.unwatchExit = context.AfterFunc(pools.ExitContext, e.exit)
	}
	return true
}

// exit ends an event stream, or gives an abandoned run up.
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

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
