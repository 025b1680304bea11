package serving

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// finish answers for a run that has returned.
func (run *Run) finish(err error) error {
	run.end(verdict{run}.judge(err))
	cut := run.cut(err)
	run.writer.Finish(cut)
	run.reasoned(run.ending.handedOn()) // its rest may have been cut short
	switch {
	case run.cancelledBeforeHead():
		return reply{run}.answerLate()
	case run.writer.Answered(): // for a pool in this one, whose run was stuck
		run.w.WriteHeader(http.StatusGatewayTimeout) // for the log alone
		return nil
	case run.reason != 0:
		reply{run}.countCancel()
		panic(http.ErrAbortHandler) // the answer has begun: cut it short
	case cut != nil, run.writer.Lost() && run.writer.HeadPassedOn():
		panic(http.ErrAbortHandler) // a cut must not look like the end
	case run.left, run.writer.Lost():
		reply{run}.logLeft()
		return nil
	}
	return err
}

// cancelledBeforeHead reports whether a timeout, an operator or its client's body, slow or
// broken, has ended the run before it answered. Whatever it says after that is of no interest.
func (run *Run) cancelledBeforeHead() bool {
	return (run.reason != 0 || run.ending.tooSlow || run.body.handedOnPart.Load()) && run.writer.Status() == 0
}

// cut says whether the client must not take the response for complete. That it
// is shorter than its declared length would not be noticed on HTTP/3.
func (run *Run) cut(err error) error {
	if run.reason != 0 || (err == nil && !run.writer.Complete()) {
		return errRunEnded
	}
	return nil
}

// end gives the permit back, or leaves it to the backend. From here on no timeout has
// an effect on the run.
func (run *Run) end(o offloader.Outcome) {
	run.mu.Lock()
	run.ended = true
	run.cutShort(run.ending.late, run.ending.abandoned)
	unwatch := run.ending.unwatch
	run.mu.Unlock()
	run.timeouts.stop()
	if run.body.passed != nil {
		run.body.passed.settle()
	}
	verdict{run}.returned(o)
	run.spans.end()
	run.mu.Lock()
	held := run.hold()
	run.mu.Unlock()
	if !held {
		run.progress.Enter(requests.PhaseStreaming, run.arrived.Add(run.waited+run.took))
		run.giveBack()
	}
	if unwatch != nil {
		unwatch()
	}
	if err := run.writer.SpoolError(); err != nil {
		run.Route.logSpoolFull("a response could not be spooled to a file, it stayed in memory or its run has waited for the client", err)
	}
}

// verdict is the outcome that a run reports about its backend.
type verdict struct{ *Run }

// outcomeAs corrects the outcome of a run by the cause that ended it.
func (run verdict) outcomeAs(o offloader.Outcome) offloader.Outcome {
	switch {
	case run.reason == offloader.Cancelled, run.body.clientAtFault():
		return offloader.Excluded
	case run.reason != 0:
		return offloader.Failure
	case run.left, run.writer.Broken(), o == offloader.Failure && (run.pastDeadline() || run.body.lacks()):
		return offloader.Excluded
	}
	return o
}

// judge returns the outcome of a run that has returned.
func (run verdict) judge(err error) offloader.Outcome {
	switch {
	case err != nil:
		if _, refused := errors.AsType[reverseproxy.DialError](err); refused {
			run.permit.Untimed() // no work was done in that time
		}
		status := statusOf(err)
		if status < 500 {
			return offloader.Excluded
		}
		return judgeStatus(status)
	case !run.writer.Complete(), run.writer.Answered():
		return offloader.Failure
	case run.grpc:
		return judgeCall(run.writer.Status(), run.writer.Header())
	}
	return judgeStatus(run.writer.Status())
}

// judgeHead returns the outcome of an answer, as far as its head shows it.
func (run verdict) judgeHead(status int) offloader.Outcome {
	if run.grpc && callStatus(run.writer.Header()) != "" {
		return judgeCall(status, run.writer.Header())
	}
	return judgeStatus(status)
}

func judgeStatus(status int) offloader.Outcome {
	if status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
		return offloader.Failure
	}
	return offloader.Success
}

// statusOf is the status that Caddy answers an error with.
func statusOf(err error) int {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return handlerErr.StatusCode
	}
	return http.StatusInternalServerError
}

// returned notes how the run has ended, in the eyes of its handlers.
func (run verdict) returned(o offloader.Outcome) {
	left := run.left || (!run.ending.tooSlow && run.client.Context().Err() != nil && run.writer.Status() == 0)
	run.judged(run.outcomeAs(o), left)
}

// hold keeps the permit of a run whose handlers have returned before its backend has
// answered. It reports whether there is a reason to. It requires run.mu.
func (run *Run) hold() bool {
	run.backend.held = run.backend.anyLeft()
	if run.backend.held {
		run.permit.Abandon()
		run.ending.losePatience()
		if run.ending.cause == nil && !run.backend.outlasts() { // a run around it has left
			run.ending.cancelBackend(errRunEnded)
		}
	}
	return run.backend.held
}

// giveBack gives the permit back: nothing of the run goes on in the backend.
func (run *Run) giveBack() {
	run.mu.Lock()
	cancelled, patience, unwatchExit := run.backend.cancelled, run.ending.patience, run.ending.unwatchExit
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
	run.Route.Pool.ObserveRun(time.Since(run.arrived.Add(run.waited)), run.upgraded)
	run.ending.cancel(errRunEnded)
}

// leave is the last thing that a request does. err is what its handler returns.
func (run *Run) leave(err error) {
	run.ticket.Withdraw() // of one that panics while its body is read
	memory{run}.remember()
	run.mu.Lock()
	run.failed = err != nil
	run.gone = true
	held := run.backend.held
	run.mu.Unlock()
	if run.backend.own != nil {
		run.backend.own.Done()
	}
	if run.body.ahead != nil {
		run.body.ahead.Settle(run.w)
	}
	run.body.hide()
	if !held {
		run.dispose()
	}
}

// dispose gives back the resources of the run when neither its client nor its backend needs
// them.
func (run *Run) dispose() {
	if run.listed {
		run.Route.Pool.Requests.Remove(&run.entry)
	}
	run.body.drop()
}
