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

// Interrupt ends the request for an operator, wherever it is: an upload is cut, a
// waiter refused, a run cancelled as by a timeout, the rest of a response cut
// short. It reports the phase in which it found it, and false if it was just
// between two: then ask again.
func (run *Run) Interrupt() (requests.Phase, bool) {
	if run.ticket.Cancel() {
		return requests.PhaseWaiting, true
	}
	phase := run.progress.Phase()
	switch phase {
	case requests.PhaseUploading:
		return phase, run.cutUpload()
	case requests.PhaseRunning, requests.PhaseUpgraded:
		return phase, run.cancelFor(offloader.Cancelled) || run.endAbandoned()
	case requests.PhaseStreaming:
		return phase, run.cutRest()
	}
	return phase, false
}

// cancelFor ends the run from outside. It reports whether it did: not when the run
// has ended or was cut off before, or when only the first byte was to be waited
// for and has just come.
func (run *Run) cancelFor(reason offloader.Reason) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.cause != nil {
		return false
	}
	cause := &cancelError{reason}
	// First the writer, then the run: whatever it says of its cancel must not
	// reach the client.
	if reason == requests.FirstByteTimeout {
		if !run.writer.KillBeforeHead(cause) {
			return false // the answer has just begun
		}
	} else {
		run.writer.Kill(cause)
	}
	run.late = reason
	run.report(reason)
	run.cutOff(cause)
	time.AfterFunc(stuckAfter, reply{run}.answerIfStuck)
	return true
}

// report tells the breaker at once what has ended the run: its permit may come back
// much later.
func (run *Run) report(reason offloader.Reason) {
	if run.body.passed != nil && run.body.passed.flows() {
		run.body.passed.failed.Store(true)
	}
	switch {
	case run.body.clientAtFault(), reason == offloader.Cancelled:
		run.permit.Report(offloader.Excluded)
	default:
		run.permit.ReportTimeout()
	}
}

// endAbandoned ends a run that was cut off from its client and still has its permit.
// It reports whether there was one.
func (run *Run) endAbandoned() bool {
	run.mu.Lock()
	held := run.backend.held
	run.mu.Unlock()
	return held && run.giveUp(&cancelError{offloader.Cancelled})
}

// cutUpload makes the reading of the body fail. Its reader is told the reason by
// endUpload.
func (run *Run) cutUpload() bool {
	run.mu.Lock()
	uploading := run.progress.Phase() == requests.PhaseUploading
	if uploading {
		run.late = offloader.Cancelled
	}
	run.mu.Unlock()
	if uploading {
		(&requestbody.Upload{W: run.w}).Stop()
	}
	return uploading
}

// cutRest cuts short what the client still gets after its run has ended.
func (run *Run) cutRest() bool {
	run.mu.Lock()
	streaming := run.progress.Phase() == requests.PhaseStreaming && !run.over
	if streaming {
		run.late = offloader.Cancelled
	}
	run.mu.Unlock()
	if streaming {
		run.writer.Cut(&cancelError{offloader.Cancelled})
	}
	return streaming
}

// handedOn ends the phase in which cutRest works. It returns why the request was
// ended from outside, zero if it was not.
func (run *Run) handedOn() offloader.Reason {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.over = true
	return run.late
}

// An event stream ends when its client leaves, and its client connects again when it is
// cut. When the process exits such streams are cut at once, as reverse_proxy closes upgraded
// connections: otherwise they take all of the grace period, which may be endless too. So
// are abandoned runs, whose answers are of no use.

// watchExit makes the exit of the process end the run. It reports false if the process
// exits already. It requires run.mu.
func (run *Run) watchExit() bool {
	if pools.ExitContext.Err() != nil {
		return false
	}
	if run.unwatchExit == nil {
		run.unwatchExit = context.AfterFunc(pools.ExitContext, run.exit)
	}
	return true
}

// exit ends an event stream, or gives an abandoned run up.
func (run *Run) exit() {
	run.mu.Lock()
	streams := run.endless && run.cause == nil && !run.ended
	run.mu.Unlock()
	if streams {
		run.abandonFor(pools.ErrExiting)
		return
	}
	run.giveUp(pools.ErrExiting)
}

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
