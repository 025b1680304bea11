package serving

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// serve runs next under the permit. The run stays on this goroutine: Caddy's
// state of a request has no locks.
func (run *Run) serve(next caddyhttp.Handler) (err error) {
	rt := run.Route
	run.body.pass()
	run.writer.Init(run.w, run.client, bridge.Options{
		Stream: rt.Response, Nudge: rt.nudge, Owner: run, Finish: run.rule() == abandonFinish,
		Body: run.body.apart(),
	})
	if rt.ServerTiming {
		run.writer.Header().Add("Server-Timing", serverTiming(run.waited, 0))
	}
	ctx, cancel := context.WithCancelCause(&run.ctx)
	run.cancel = cancel
	if run.rule() == abandonCancel && run.body.broken == nil {
		run.watchClient()
	}
	run.enter(requests.PhaseRunning, run.arrived.Add(run.waited)) // from here on it can be cancelled
	rt.early().Start(&run.early, run)
	rt.RunTime.Start(&run.runTime, run)

	returned := false
	defer func() {
		if returned {
			return
		}
		// next panics, or ends the goroutine; let it, after this
		run.end(offloader.Failure)
		run.writer.Finish(errRunEnded)
		if !run.cancelledBeforeHead() {
			run.countCancel()
			if run.left {
				run.logLeft()
			}
			return
		}
		// Aborting is how it reacts to its cancel.
		if v := recover(); v == http.ErrAbortHandler {
			err = run.answerLate()
		} else if v != nil {
			run.countCancel()
			panic(v)
		}
	}()
	err = next.ServeHTTP(&run.writer, run.forwarded(ctx))
	returned = true
	return run.finish(err)
}

// forwarded is the request as the handlers behind get it: under a context that does not end
// with the client, and with the body.
func (run *Run) forwarded(ctx context.Context) *http.Request {
	r := run.client.WithContext(run.beginRun(ctx))
	run.body.forward(r)
	return r
}

// finish answers for a run that has returned.
func (run *Run) finish(err error) error {
	run.end(run.judge(err))
	cut := run.cut(err)
	run.writer.Finish(cut)
	run.reasoned(run.handedOn()) // its rest may have been cut short
	switch {
	case run.cancelledBeforeHead():
		return run.answerLate()
	case run.writer.Answered(): // for a pool in this one, whose run was stuck
		run.w.WriteHeader(http.StatusGatewayTimeout) // for the log alone
		return nil
	case run.reason != 0:
		run.countCancel()
		panic(http.ErrAbortHandler) // the answer has begun: cut it short
	case cut != nil, run.writer.Lost() && run.writer.HeadPassedOn():
		panic(http.ErrAbortHandler) // what is missing must not look like the end
	case run.left, run.writer.Lost():
		run.logLeft()
		return nil
	}
	return err
}

// countCancel counts the reason of a run that was ended from outside when it is too
// late to say so.
func (run *Run) countCancel() {
	if run.reason != 0 {
		_ = run.Route.Pool.Reject(run.reason)
	}
}

// cancelledBeforeHead reports whether a timeout, an operator or its client's body, slow or
// broken, has ended the run before it answered. Whatever it says after that is of no interest.
func (run *Run) cancelledBeforeHead() bool {
	return (run.reason != 0 || run.tooSlow || run.body.handedOnPart.Load()) && run.writer.Status() == 0
}

// answerLate answers for a run that was cancelled before it did.
func (run *Run) answerLate() error {
	switch {
	case run.tooSlow:
		return run.refuseBody(errTooSlow)
	case run.reason == 0:
		return run.refuseBroken()
	}
	rejected := run.Route.Pool.Reject(run.reason)
	if run.writer.Answered() {
		run.w.WriteHeader(run.Route.answerFor(run.reason).status) // for the log alone
		return nil
	}
	return run.reject(rejected)
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
	run.reason = run.late
	run.left = run.abandoned
	unwatch := run.unwatch
	run.mu.Unlock()
	run.stopTimeouts()
	if run.body.passed != nil {
		run.body.passed.settle()
	}
	run.returned(o)
	run.endSpan()
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

func (run *Run) stopTimeouts() {
	run.stopEarly()
	run.Route.RunTime.Stop(&run.runTime)
}

// outcomeAs corrects what a run tells about the backend by what ended it.
func (run *Run) outcomeAs(o offloader.Outcome) offloader.Outcome {
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

// judge says what a returned run tells about the backend.
func (run *Run) judge(err error) offloader.Outcome {
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

// judgeHead says whether an answer that begins so is a good one, as far as it tells.
func (run *Run) judgeHead(status int) offloader.Outcome {
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

// logLeft ends a request whose client is not there any more.
func (run *Run) logLeft() {
	if !run.writer.HeadPassedOn() {
		run.w.WriteHeader(statusClientLeft) // for the log alone
	}
}

// returned notes how the run has ended, in the eyes of its handlers.
func (run *Run) returned(o offloader.Outcome) {
	left := run.left || (!run.tooSlow && run.client.Context().Err() != nil && run.writer.Status() == 0)
	run.judged(run.outcomeAs(o), left)
}

// hold keeps the permit of a run whose handlers have returned before its backend has
// answered. It reports whether there is a reason to. It requires run.mu.
func (run *Run) hold() bool {
	run.backend.held = run.backend.anyLeft()
	if run.backend.held {
		run.permit.Abandon()
		run.losePatience()
		if run.cause == nil && !run.backend.outlasts() { // a run around it has left
			run.cancelBackend(errRunEnded)
		}
	}
	return run.backend.held
}

// giveBack gives the permit back: nothing of the run goes on in the backend.
func (run *Run) giveBack() {
	run.mu.Lock()
	cancelled, patience, unwatchExit := run.backend.cancelled, run.patience, run.unwatchExit
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
	run.cancel(errRunEnded)
}
