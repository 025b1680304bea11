package serving

import (
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// hold is called when the handlers of a run have returned. If the backend still works for
// the run, hold keeps the permit and returns true. It requires run.mu.
func (b *backend) hold() bool {
	b.held = b.anyLeft()
	if b.held {
		b.run.permit.Abandon()
		b.run.ending.losePatience()
		if b.run.ending.cause == nil && !b.outlasts() { // a run around it has left
			b.run.ending.cancelBackend(requestbody.ErrRunEnded)
		}
	}
	return b.held
}

// giveBack gives the permit back when nothing of the run goes on in the backend.
func (rn *Run) giveBack() {
	rn.mu.Lock()
	cancelled, patience, unwatchExit := rn.backend.cancelled, rn.ending.patience, rn.ending.unwatchExit
	rn.mu.Unlock()
	if patience != nil {
		patience.Stop()
	}
	if unwatchExit != nil {
		unwatchExit()
	}
	if cancelled {
		rn.permit.ReleaseCancelled(rn.outcome)
	} else {
		rn.permit.Release(rn.outcome)
	}
	if !rn.ticket.Preflight {
		rn.Route.Pool.ObserveRun(time.Since(rn.arrived.Add(rn.waited)), rn.upgraded)
	}
	rn.ending.cancel(requestbody.ErrRunEnded)
}

// Begin is called when a request of the run is about to be sent.
func (b *backend) Begin(x *exchange.Exchange) error {
	for r := b.run; r != nil; r = r.outer {
		if err := r.backend.begin(x); err != nil {
			b.End(x, false)
			return err
		}
	}
	b.own = x
	return nil
}

func (b *backend) begin(x *exchange.Exchange) error {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	if b.run.ending.cause != nil {
		return b.run.ending.cause
	}
	if b.current != nil {
		b.earlier = append(b.earlier, b.current)
	}
	b.current = x
	return nil
}

// End is called when the backend has answered or its connection has ended. cut says that
// the run has closed the connection.
func (b *backend) End(x *exchange.Exchange, cut bool) {
	for r := b.run; r != nil; r = r.outer {
		last, gone := r.backend.end(x, cut)
		if last {
			r.giveBack()
		}
		if last && gone {
			r.dispose()
		}
	}
}

// end notes that an exchange is over. last reports whether it was the last one that kept
// the permit of a run whose handlers have returned, and gone whether the request is over
// too: if it is not, leave disposes of the run.
func (b *backend) end(x *exchange.Exchange, cut bool) (last, gone bool) {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	if b.current == x {
		b.current = nil
	} else {
		b.earlier = slices.DeleteFunc(b.earlier, func(other *exchange.Exchange) bool { return other == x })
	}
	passed := b.run.body.passed
	b.cancelled = b.cancelled || cut || (passed != nil && passed.CutShort())
	last = b.held && len(b.exchanges()) == 0
	b.held = b.held && !last
	return last, b.run.gone
}

// dispose gives back the resources of the run. It is called when neither its client nor its
// backend needs them.
func (rn *Run) dispose() {
	if rn.listed {
		rn.Route.Pool.Requests.Remove(&rn.entry)
	}
	rn.body.drop()
}

var _ exchange.Owner = (*backend)(nil)

// verdict is the outcome that a run reports about its backend.
type verdict struct{ *Run }

// outcomeAs corrects the outcome of a run by the cause that ended it.
func (v verdict) outcomeAs(o offloader.Outcome) offloader.Outcome {
	switch {
	case v.reason == offloader.Cancelled, v.body.clientAtFault(), limits(v).excuse():
		return offloader.Excluded
	case v.reason != 0:
		return offloader.Failure
	case v.left, v.writer.Broken(), o == offloader.Failure && (limits(v).pastClient() || v.body.lacks()):
		return offloader.Excluded
	}
	return o
}

// judge returns the outcome of a run that has returned.
func (v verdict) judge(err error) offloader.Outcome {
	switch {
	case err != nil && v.lacksRoom(): // nothing was sent
		v.permit.Untimed()
		return offloader.Excluded
	case err != nil:
		if isRefused(err) {
			v.permit.Untimed() // no work was done in that time
		}
		return outcome.OfError(err)
	case !v.writer.Complete(), v.writer.Answered() != 0:
		return offloader.Failure
	case v.grpc:
		return v.Route.Pool.Statuses().OfCall(v.writer.Status(), v.writer.Header())
	}
	return v.Route.Pool.Statuses().OfStatus(v.writer.Status())
}

// lacksRoom reports whether no upstream had room for the run, or for one around it.
func (v verdict) lacksRoom() bool {
	for r := v.Run; r != nil; r = r.outer {
		if r.attempts != nil && r.attempts.lacksRoom {
			return true
		}
	}
	return false
}

// judgeHead returns the outcome of an answer, as far as its head shows it.
func (v verdict) judgeHead(status int) offloader.Outcome {
	if v.grpc && grpccall.HasStatus(v.writer.Header()) {
		return v.Route.Pool.Statuses().OfCall(status, v.writer.Header())
	}
	return v.Route.Pool.Statuses().OfStatus(status)
}

// explainFailure gives the breaker what a failed run shows of the backend: that it did not
// answer, or when it wants to be asked again.
func (v verdict) explainFailure(err error) {
	switch status := v.writer.Status(); {
	case status != 0:
		if d := outcome.RetryAfter(v.writer.Header(), time.Now()); d > 0 && v.judgeHead(status) == offloader.Failure {
			v.permit.RetryAfter(d)
		}
	case err != nil && v.attempts != nil && v.attempts.lost(err):
		v.permit.Unanswered()
	}
}

// returned records the outcome of a run whose handlers have returned err.
func (v verdict) returned(err error) {
	o := v.outcomeAs(v.judge(err))
	if o == offloader.Failure {
		v.explainFailure(err)
	}
	left := v.left || (!v.ending.tooSlow && v.client.Context().Err() != nil && v.writer.Status() == 0)
	v.judged(o, left)
}
