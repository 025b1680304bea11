package serving

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// limits are the time limits of a run and its wait: the budget of its request, the timeout
// that a gRPC client has set, and the timeouts of its route.
type limits struct{ *Run }

// begin sets the budget of a request that arrives at now.
func (l limits) begin(now time.Time) {
	if l.Route.Deadline == (deadline.Rule{}) {
		return
	}
	limit, unreadable := l.Route.Deadline.Of(l.client, now, l.root().who.Came)
	if unreadable != "" {
		l.Route.logUnreadable(unreadable)
	}
	if limit.Any() {
		l.Run.budget = &budget{Limit: limit}
	}
}

// inAll returns the time that the request may use in all, its budget. An upload that broke
// off has no limit, since its client does not wait for the answer.
func (l limits) inAll() deadline.Limit {
	if l.budget == nil || l.body.broken != nil {
		return deadline.Limit{}
	}
	return l.budget.Limit
}

// ofCall returns the timeout that the client of a gRPC call has set. Other requests have
// none.
func (l limits) ofCall() (time.Duration, bool) {
	if !l.grpc {
		return 0, false
	}
	return grpccall.Timeout(l.client.Header)
}

// outOfTime reports whether the time of the request is over.
func (l limits) outOfTime() bool {
	limit := l.inAll()
	return limit.Any() && !time.Now().Before(limit.End)
}

// endsAt returns when the run, or one around it, will be cancelled: at firstByte unless its
// answer has begun, and at end in any case. Zero is never.
func (l limits) endsAt() (firstByte, end time.Time) {
	for rn := l.Run; rn != nil; rn = rn.outer {
		started := rn.arrived.Add(rn.waited)
		firstByte = earlier(firstByte, started, rn.Route.FirstByteTimeout)
		end = earlier(end, started, rn.Route.RunTimeout)
		if limit := (limits{rn}).inAll(); limit.Any() {
			end = earlier(end, limit.End.Add(-limit.Allowed), limit.Allowed)
		}
	}
	return firstByte, end
}

// earlier returns the earlier of a moment, where zero is never, and the end of a
// timeout.
func earlier(than, started time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return than
	}
	at := started.Add(timeout)
	if than.IsZero() || at.Before(than) {
		return at
	}
	return than
}

// predict rejects a request whose predicted wait and run would exceed its budget. While a
// permit is free it rejects no request: the prediction can be wrong, and only runs correct
// it.
func (l limits) predict() error {
	limit := l.inAll()
	if !limit.Any() {
		return nil
	}
	f, ok := l.ticket.Forecast()
	l.budget.forecast = f
	if ok && f.Wait+f.Run > time.Until(limit.End) {
		return l.tooLate(offloader.PredictedLate)
	}
	return nil
}

// tooLate rejects a request for reason r because its budget is too small.
func (l limits) tooLate(r offloader.Reason) error {
	l.budget.rejected = true
	return l.Route.Pool.Reject(r)
}

// wait returns the context for the wait in the queue. The budget of the request ends it,
// and so does the timeout that a gRPC client has set, since the client does not wait
// longer. An upload that broke off waits without its client.
func (l limits) wait() (context.Context, context.CancelFunc) {
	ctx := l.client.Context()
	if l.body.broken != nil {
		ctx = context.WithoutCancel(ctx)
	}
	end := earlier(l.startBy(), l.arrived, l.maxWait())
	if end.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end)
}

// startBy returns until when the request may wait by its budget and the time of its call,
// zero for as long as it likes.
func (l limits) startBy() time.Time {
	limit := l.inAll()
	if ofCall, ok := l.ofCall(); ok && (!limit.Any() || ofCall < limit.Allowed) {
		return l.who.Came.Add(ofCall)
	}
	if limit.Any() {
		return l.budget.startBy(time.Now())
	}
	return time.Time{}
}

// maxWait is how long after its arrival a request may wait again, zero for as long as it
// likes. The first time its pool sees to that.
func (l limits) maxWait() time.Duration {
	if l.first == nil {
		return 0
	}
	return l.Route.Pool.Settings().MaxWait
}

// inTime gives the permit back if the budget of the request was used up during the wait: no
// run starts after that.
func (l limits) inTime(permit offloader.Permit, err error) (offloader.Permit, error) {
	if err != nil || !l.outOfTime() {
		return permit, err
	}
	permit.Untimed()
	permit.Release(offloader.Excluded)
	return offloader.Permit{}, l.tooLate(offloader.WaitTimeout)
}

// blame records that the wait was ended by the budget, and not by max_wait.
func (l limits) blame(ctx context.Context, err error) {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	if !ok || l.budget == nil || rejected.Reason != offloader.WaitTimeout {
		return
	}
	end, limited := ctx.Deadline()
	byPool := end.Equal(earlier(time.Time{}, l.arrived, l.maxWait()))
	l.budget.rejected = l.budget.rejected || limited && !byPool && !time.Now().Before(end)
}

// decided reports whether the request was rejected or ended because of its budget. It may
// be called once the request has ended.
func (l limits) decided() bool {
	return l.ending.byBudget || (l.budget != nil && l.budget.rejected)
}

// excuse reports whether the backend is not to blame for a run that was ended by the
// budget: the client may have set too short a time, and the upload and the wait may have
// used most of the time that the route allows.
func (l limits) excuse() bool {
	if !l.ending.byBudget {
		return false
	}
	limit := l.budget.Limit
	if limit.By == deadline.Client {
		return true
	}
	return limit.End.Sub(l.arrived.Add(l.waited)) < limit.Allowed/2
}

// pastClient reports whether the time that the client has set is over. Servers that obey
// it, such as those of gRPC, then end the call with an error. That must not count as a
// failure of the backend: any client could open the breaker for all by setting too short a
// time.
func (l limits) pastClient() bool {
	if limit := l.inAll(); limit.By == deadline.Client {
		return l.outOfTime()
	}
	limit, ok := l.ofCall()
	return ok && time.Since(l.who.Came) >= limit
}

// startBy returns until when the request may wait. If the pool predicts a run time, it
// leaves room for a run half as long again, since most runs would not end in time
// otherwise.
func (b *budget) startBy(now time.Time) time.Time {
	latest, predicted := b.End.Add(-b.forecast.Run*3/2), now.Add(b.forecast.Wait)
	if latest.Before(predicted) {
		return predicted
	}
	return latest
}

// view describes the budget.
func (b *budget) view(now time.Time) requests.Budget {
	return requests.Budget{By: b.By.String(), Allowed: b.Allowed, Left: max(b.End.Sub(now), 0)}
}
