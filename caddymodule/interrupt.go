package caddymodule

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// interrupt ends the request for an operator, wherever it is: an upload is cut, a
// waiter refused, a run cancelled as by a timeout, the rest of a response cut
// short. It reports the phase in which it found it, and false if it was just
// between two: then ask again.
func (run *run) interrupt() (requestPhase, bool) {
	if run.route.Pool.Cancel(&run.place) {
		return phaseWaiting, true
	}
	phase := run.progress.phase()
	switch phase {
	case phaseUploading:
		return phase, run.cutUpload()
	case phaseRunning, phaseUpgraded:
		return phase, run.cancelFor(offloader.Cancelled) || run.endAbandoned()
	case phaseStreaming:
		return phase, run.cutRest()
	}
	return phase, false
}

// cancelFor ends the run from outside. It reports whether it did: not when the run
// has ended or was cut off before, or when only the first byte was to be waited
// for and has just come.
func (run *run) cancelFor(reason offloader.Reason) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.cause != nil {
		return false
	}
	cause := &cancelError{reason}
	// First the writer, then the run: whatever it says of its cancel must not
	// reach the client.
	if reason == offloader.FirstByteTimeout {
		if !run.writer.KillBeforeHead(cause) {
			return false // the answer has just begun
		}
	} else {
		run.writer.Kill(cause)
	}
	run.late = reason
	run.report(reason)
	run.cutOff(cause)
	time.AfterFunc(stuckAfter, run.answerIfStuck)
	return true
}

// report tells the breaker at once what has ended the run: its permit may come back
// much later.
func (run *run) report(reason offloader.Reason) {
	if run.unspooled != nil && run.unspooled.flows() {
		run.unspooled.failed.Store(true)
	}
	switch {
	case run.clientAtFault(), reason == offloader.Cancelled:
		run.permit.Report(offloader.Excluded)
	default:
		run.permit.ReportTimeout()
	}
}

// endAbandoned ends a run that was cut off from its client and still has its permit.
// It reports whether there was one.
func (run *run) endAbandoned() bool {
	run.mu.Lock()
	held := run.held
	run.mu.Unlock()
	return held && run.giveUp(&cancelError{offloader.Cancelled})
}

// cutUpload makes the reading of the body fail. Its reader is told the reason by
// endUpload.
func (run *run) cutUpload() bool {
	run.mu.Lock()
	uploading := run.progress.phase() == phaseUploading
	if uploading {
		run.late = offloader.Cancelled
	}
	run.mu.Unlock()
	if uploading {
		(&upload{w: run.w}).Stop()
	}
	return uploading
}

// endUpload ends the phase in which cutUpload works. It reports whether it has.
func (run *run) endUpload() (cut bool) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.uploaded()
	run.progress.enter(phaseWaiting, run.arrived)
	return run.late != 0
}

// cutRest cuts short what the client still gets after its run has ended.
func (run *run) cutRest() bool {
	run.mu.Lock()
	streaming := run.progress.phase() == phaseStreaming && !run.over
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
func (run *run) handedOn() offloader.Reason {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.over = true
	return run.late
}
