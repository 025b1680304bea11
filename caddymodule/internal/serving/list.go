package serving

import (
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// View describes the run. It may be called from any goroutine.
func (run *Run) View(now time.Time) requests.View {
	phase, since := run.progress.Now()
	who := &run.who
	r := requests.View{
		ID: run.id().String(), Pool: run.Route.Pool.Name(), Phase: phase,
		Age: now.Sub(who.Came), InPhase: now.Sub(since),
		Class: requests.DefaultClass, Unspooled: run.body.kindName(), Client: who.Client, Method: who.Method, Host: who.Host, Path: who.Path,
	}
	if phase == requests.PhaseRunning {
		cancelled := run.CancelledFor()
		r.Abandoned = cancelled != 0 || run.client.Context().Err() != nil
		if cancelled != 0 {
			r.Reason = cancelled.String()
		}
	}
	return r
}

// id is that of the request: runs of nested pools share it.
func (run *Run) id() requests.ID { return run.root().who.ID }

// CancelledFor is the reason that has cancelled the run, zero if none has.
func (run *Run) CancelledFor() offloader.Reason {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.ending.late
}

// Waiting lists a pool's queue in the order of service.
func Waiting(p *pools.Pool) []requests.View {
	now := time.Now()
	waiters := p.Waiters()
	all := make([]requests.View, 0, len(waiters))
	for i, w := range waiters {
		if run := runAt(w.Ticket); run != nil {
			r := run.View(now)
			r.Phase, r.InPhase, r.Position = requests.PhaseWaiting, w.Waited, i+1
			all = append(all, r)
		}
	}
	return all
}

// Active lists the requests of a pool that are not in its queue, the oldest first.
func Active(p *pools.Pool) []requests.View {
	now := time.Now()
	all := []requests.View{}
	for _, listed := range p.Requests.All() {
		if r := listed.(*Run).View(now); r.Phase != requests.PhaseWaiting {
			all = append(all, r)
		}
	}
	return all
}

// NoteDeparture abandons the permit of a run whose client has left.
func (run *Run) NoteDeparture() {
	if run.progress.Phase() == requests.PhaseRunning && run.client.Context().Err() != nil {
		run.permit.Abandon()
	}
}

// FindRun returns the request with that id, in its outermost pool, nil if there is
// none.
func FindRun(id requests.WantedID) *Run {
	for _, pool := range pools.All() {
		for _, listed := range pool.EveryRequest() {
			if run := listed.(*Run); id.Of(run.id()) {
				return run.root()
			}
		}
	}
	return nil
}

// runAt returns the request at a place, nil if it is none of ours.
func runAt(ticket *offloader.Ticket) *Run {
	if ticket == nil {
		return nil
	}
	run, _ := ticket.Caller.(*Run)
	return run
}

var _ pools.Request = (*Run)(nil)

// memory records a run for `explain`.
type memory struct{ *Run }

// remember explains a request that was not served as usual, when it has ended.
func (run memory) remember() {
	switch {
	case run.ending.tooSlow: // as with a spooled body, its status says it all
	case run.reason == offloader.Cancelled:
		run.explain(requests.DecidedCancelled)
	case run.reason != 0 && run.admitted:
		run.explain(requests.DecidedTimedOut)
	case run.reason != 0:
		run.explain(requests.DecidedRejected)
	case run.admitted && !run.left && !run.unheard():
	case run.admitted && !run.wasCancelled():
		run.explain(requests.DecidedAbandoned)
	case run.left || run.admitted:
		run.explain(requests.DecidedLeft)
	}
}

// unheard reports whether no client received the answer.
func (run memory) unheard() bool {
	return run.client.Context().Err() != nil && (run.writer.Lost() || !run.writer.HeadPassedOn())
}

// wasCancelled reports whether the client's leaving has cancelled the run.
func (run memory) wasCancelled() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.ending.abandoned
}

// explain records the end of the run.
func (run memory) explain(d requests.Decision) {
	pool := run.Route.Pool
	e := requests.Explanation{
		ID: run.id(), At: time.Now(), Pool: pool.Name(), Decision: d, Reason: run.reason, Unspooled: run.body.kindName(),
		Upload: run.uploadTook, Waited: run.waited, Took: run.took, Sends: run.backend.sends.Load(),
		Ahead: run.ticket.Ahead(), Predicted: run.ticket.PredictedWait(), Pressure: pool.Gauges(),
	}
	if run.reason == offloader.QueueFull && !run.ticket.Joined() {
		e.Ahead, e.Predicted = e.Pressure.Waiting, e.Pressure.PredictedWait
	}
	requests.Explained.Add(&e, &run.who)
}
