package serving

import (
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// View describes the run. It may be called from any goroutine.
func (rn *Run) View(now time.Time) requests.View {
	phase, since := rn.progress.Now()
	who := &rn.who
	r := requests.View{
		ID: rn.id().String(), Pool: rn.Route.Pool.Name(), Phase: phase,
		Age: max(0, now.Sub(who.Came)), InPhase: max(0, now.Sub(since)), // it may have come, or gone on, after now
		Class: requests.DefaultClass, Cost: 1, Unspooled: rn.body.kindName(), Client: who.Client, Method: who.Method, Host: who.Host, Path: who.Path,
	}
	if claim := rn.ticket.Claim; claim != nil {
		r.Class, r.Key = optionvalue.OrDefault(claim.Class, r.Class), claim.Key
		rn.mu.Lock()
		r.Cost = claim.Cost
		rn.mu.Unlock()
	}
	if rn.budget != nil {
		r.Budget = rn.budget.view(now).OrNil()
	}
	if phase == requests.PhaseRunning {
		cancelled := rn.CancelledFor()
		r.Abandoned = cancelled != 0 || rn.client.Context().Err() != nil
		if cancelled != 0 {
			r.Reason = cancelled.String()
		}
	}
	return r
}

// CancelledFor returns the reason for which the run was cancelled, zero if it was not.
func (rn *Run) CancelledFor() offloader.Reason {
	rn.mu.Lock()
	defer rn.mu.Unlock()
	return rn.ending.late
}

// Waiting lists a pool's queue in the order of service.
func Waiting(p *pools.Pool) []requests.View {
	waiters := p.Waiters()
	now := time.Now()
	all := make([]requests.View, 0, len(waiters))
	for i, w := range waiters {
		if run := runAt(w.Ticket); run != nil {
			r := run.View(now)
			r.Phase, r.InPhase, r.Position = requests.PhaseWaiting, w.Waited, i+1
			r.Aside = w.Aside
			if r.Class != requests.DefaultClass && w.Claim.Class != "" { // a reload may have changed the classes
				r.Class = w.Claim.Class
			}
			all = append(all, r)
		}
	}
	return all
}

// Active lists the requests of a pool that are not in its queue, the oldest first.
func Active(p *pools.Pool) []requests.View {
	listed := p.Requests.All()
	now := time.Now()
	all := []requests.View{}
	for _, request := range listed {
		if r := request.(*Run).View(now); r.Phase != requests.PhaseWaiting {
			all = append(all, r)
		}
	}
	return all
}

// NoteDeparture counts the run as abandoned if its client has left.
func (rn *Run) NoteDeparture() {
	if rn.progress.Phase() == requests.PhaseRunning && rn.client.Context().Err() != nil {
		rn.permit.Abandon()
	}
}

// FindRun returns the request with that ID from the pools of a table, as the run of its
// outermost pool. It returns nil if there is none.
func FindRun(in *pools.Table, id requests.WantedID) *Run {
	for _, pool := range in.All() {
		for _, listed := range pool.EveryRequest() {
			if run := listed.(*Run); id.Of(run.id()) {
				return outermost(run)
			}
		}
	}
	return nil
}

// runAt returns the run of a ticket, nil if the ticket belongs to another program part.
func runAt(ticket *offloader.Ticket) *Run {
	if ticket == nil {
		return nil
	}
	return runOfCaller(ticket.Caller)
}

var _ pools.Request = (*Run)(nil)

// memory records ended requests for the command "explain".
type memory struct{ *Run }

// remember records an explanation when a request has ended: for each request that was not
// served as usual, and for some of the others.
func (m memory) remember() {
	switch {
	case m.ticket.Patient && !m.admitted: // a job comes again and again
	case m.ending.tooSlow: // as with a spooled body, its status says it all
	case m.reason == offloader.Cancelled:
		m.explain(requests.DecidedCancelled)
	case m.reason != 0 && m.admitted:
		m.explain(requests.DecidedTimedOut)
	case m.reason != 0:
		m.explain(requests.DecidedRejected)
	case m.admitted && !m.left && !m.unheard():
		m.served()
	case m.admitted && !m.wasCancelled():
		m.explain(requests.DecidedAbandoned)
	case m.left || m.admitted:
		m.explain(requests.DecidedLeft)
	}
}

// unheard reports whether the client has left before it received the answer.
func (m memory) unheard() bool {
	return m.client.Context().Err() != nil && (m.writer.Lost() || !m.writer.HeadPassedOn())
}

// wasCancelled reports whether the run was cancelled because its client has left.
func (m memory) wasCancelled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ending.abandoned
}

// served records a request that was served, if it was slow or is picked as a sample.
// Endless streams and upgraded connections are left out, since their clients decide how
// long they last.
func (m memory) served() {
	now := time.Now()
	total := now.Sub(m.who.Came)
	if !m.Route.served.Wants(total, now) || m.upgraded || m.isEndless() {
		return
	}
	e := m.explanation(requests.DecidedServed, now)
	e.Status = m.writer.Status()
	e.Handed = max(total-m.uploadTook-m.waited-m.took, 0)
	e.Pressure = m.Route.Pool.Gauges()
	m.Route.served.Add(&e, &m.who)
}

func (m memory) isEndless() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endless
}

// explain records a request that was not served as usual.
func (m memory) explain(d requests.Decision) {
	e := m.explanation(d, time.Now())
	e.Reason = m.reason
	if d == requests.DecidedRejected && e.Record.Reason == m.reason {
		e.Pressure = pressureOf(&e.Record)
		if by := runOfCaller(m.ticket.DisplacedBy()); by != nil {
			e.DisplacedBy = by.id()
			if claim := by.ticket.Claim; claim != nil {
				e.DisplacedByClass = claim.Class
			}
		}
	} else { // the pool did not decide that
		e.Recorded = e.Recorded && d != requests.DecidedRejected
		e.Pressure = m.Route.Pool.Gauges()
	}
	m.Route.Process.Explained.Add(&e, &m.who)
}

// explanation describes the run.
func (m memory) explanation(d requests.Decision, now time.Time) requests.Explanation {
	e := requests.Explanation{
		ID: m.id(), At: now, Pool: m.Route.Pool.Name(), Decision: d, Unspooled: m.body.kindName(),
		Upload: m.uploadTook, Waited: m.waited, Took: m.took, Sends: m.backend.sends.Load(),
	}
	e.Record, e.Recorded = m.ticket.Record()
	if limits(m).inAll().Any() {
		e.Budget = m.budget.view(now)
		e.Budget.Decided = limits(m).decided()
		e.Budget.Wait, e.Budget.Run = m.budget.forecast.Wait, m.budget.forecast.Run
	}
	m.note(&e.Record.Claim)
	return e
}

// note records the claim of the request, unless the pool has recorded how it counts the
// claim. In a pool without classes, all requests count as of the default class.
func (m memory) note(counted *offloader.Claim) {
	switch claim := m.ticket.Claim; {
	case claim == nil:
		*counted = offloader.Claim{}
	case counted.Cost == 0:
		*counted = *claim
	case claim.Class == "":
		counted.Class = ""
	}
}

// pressureOf returns the numbers of the pool at its decision.
func pressureOf(r *offloader.Record) offloader.Gauges {
	limit := r.Limit + r.Lent
	if r.Limit == 0 && r.Concurrency == 0 {
		limit = 0
	}
	return offloader.Gauges{
		Running: r.Running + r.Lent, Limit: limit, Waiting: r.Waiting, QueueLimit: r.QueueLimit, Breaker: r.Breaker,
	}
}

// runOfCaller returns the run that acquired a permit as c, nil if c is no run.
func runOfCaller(c offloader.Caller) *Run {
	run, _ := c.(*Run)
	return run
}
