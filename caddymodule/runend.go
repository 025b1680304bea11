package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// serve runs next under the permit. The run stays on this goroutine: Caddy's
// state of a request has no locks.
func (run *run) serve(next caddyhttp.Handler) (err error) {
	h := run.handler
	run.writer.Init(run.w, run.client, bridge.Options{
		Stream: h.responseOptions(run.client), Nudge: h.nudge, Owner: run, Finish: h.OnAbandon == "finish",
	})
	if h.ServerTiming {
		run.writer.Header().Add("Server-Timing", run.serverTiming())
	}
	ctx, cancel := context.WithCancelCause(&run.ctx)
	run.cancel = cancel
	defer cancel(errRunEnded)
	if h.OnAbandon == "cancel" {
		run.watchClient()
	}
	run.enter(phaseRunning, run.arrived.Add(run.waited)) // from here on it can be cancelled
	h.firstByte.Start(&run.firstByte, run)
	h.runTime.Start(&run.runTime, run)

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
	err = next.ServeHTTP(&run.writer, run.forwarded(run.beginRun(ctx)))
	returned = true
	return run.finish(err)
}

// finish answers for a run that has returned.
func (run *run) finish(err error) error {
	run.end(run.judge(err))
	cut := run.cut(err)
	run.writer.Finish(cut)
	run.reason = run.handedOn() // its rest may have been cut short
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
func (run *run) countCancel() {
	if run.reason != 0 {
		_ = run.handler.pool.Reject(run.reason)
	}
}

// cancelledBeforeHead reports whether a timeout has ended the run before it
// answered. Whatever it says after that is of no interest.
func (run *run) cancelledBeforeHead() bool { return run.reason != 0 && run.writer.Status() == 0 }

// answerLate answers for a run that was cancelled before it did.
func (run *run) answerLate() error {
	rejected := run.handler.pool.Reject(run.reason)
	if run.writer.Answered() {
		run.w.WriteHeader(run.handler.answerFor(run.reason).status) // for the log alone
		return nil
	}
	return run.handler.reject(run, rejected)
}

// cut says whether the client must not take the response for complete. That it
// is shorter than its declared length would not be noticed on HTTP/3.
func (run *run) cut(err error) error {
	if run.reason != 0 || (err == nil && !run.writer.Complete()) {
		return errRunEnded
	}
	return nil
}

// end gives the permit back. From here on no timeout has an effect.
func (run *run) end(o offloader.Outcome) {
	run.mu.Lock()
	run.ended = true
	run.reason = run.late
	run.left = run.abandoned
	unwatch := run.unwatch
	run.mu.Unlock()
	h := run.handler
	h.firstByte.Stop(&run.firstByte)
	h.runTime.Stop(&run.runTime)
	if run.endless {
		endlessRuns.remove(run)
	}
	if unwatch != nil {
		unwatch()
	}
	run.took = time.Since(run.arrived) - run.waited
	run.progress.enter(phaseStreaming, run.arrived.Add(run.waited+run.took))
	cancelled := run.left || run.reason != 0
	switch {
	case run.reason == offloader.Cancelled:
		o = offloader.Excluded
	case run.reason != 0:
		o = offloader.Failure
	case run.left, run.writer.Broken(), run.uploadFailed.Load(), o == offloader.Failure && run.pastDeadline():
		o = offloader.Excluded
	}
	run.outcome = o
	run.left = run.left || (run.client.Context().Err() != nil && run.writer.Status() == 0)
	run.endSpan()
	if cancelled {
		run.permit.ReleaseCancelled(o)
	} else {
		run.permit.Release(o)
	}
	if run.upgraded {
		h.pool.EndUpgrade()
	} else {
		h.pool.runs.Observe(run.took.Seconds())
	}
	if err := run.writer.SpoolError(); err != nil {
		h.logSpoolFull("a response could not be spooled, its run has waited for the client", err)
	}
}

// judge says what a returned run tells about the backend.
func (run *run) judge(err error) offloader.Outcome {
	status := run.writer.Status()
	switch {
	case err != nil:
		if status = statusOf(err); status < 500 {
			return offloader.Excluded
		}
	case !run.writer.Complete(), run.writer.Answered():
		return offloader.Failure
	}
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
func (run *run) logLeft() {
	if !run.writer.HeadPassedOn() {
		run.w.WriteHeader(statusClientLeft) // for the log alone
	}
}

// clientBody is the body of a request that is not spooled. It notes when it is
// the client that fails, which handlers report like a failure of the backend.
type clientBody struct {
	run *run
	src io.ReadCloser // nil before the first read
}

// Read reads from the client, or what a placeholder has read before and put in the
// body's place.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.src == nil {
		b.src = b.run.client.Body
	}
	n, err := b.src.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.run.uploadFailed.Store(true)
	}
	return n, err
}

// Close ends the client's body.
func (b *clientBody) Close() error { return b.run.client.Body.Close() }
