package caddymodule

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// view describes the run. It may be called from any goroutine.
func (run *run) view(now time.Time) Request {
	phase, since := run.progress.now()
	who := &run.who
	r := Request{
		ID: run.id().String(), Pool: run.route.Pool.Name(), Phase: phase,
		Age: now.Sub(who.came), InPhase: now.Sub(since),
		Class: defaultClass, Unspooled: run.kindWord(), Client: who.client, Method: who.method, Host: who.host, Path: who.path,
	}
	if phase == phaseRunning {
		cancelled := run.cancelledFor()
		r.Abandoned = cancelled != 0 || run.client.Context().Err() != nil
		if cancelled != 0 {
			r.Reason = cancelled.String()
		}
	}
	return r
}

// id is that of the request: runs of nested pools share it.
func (run *run) id() requestID { return run.root().who.id }

// cancelledFor is the reason that has cancelled the run, zero if none has.
func (run *run) cancelledFor() offloader.Reason {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.late
}

// waiting lists a pool's queue in the order of service.
func waiting(p *livePool) []Request {
	now := time.Now()
	waiters := p.Waiters()
	all := make([]Request, 0, len(waiters))
	for i, w := range waiters {
		if run := runAt(w.Place); run != nil {
			r := run.view(now)
			r.Phase, r.InPhase, r.Position = phaseWaiting, w.Waited, i+1
			all = append(all, r)
		}
	}
	return all
}

// active lists the requests of a pool that are not in its queue, the oldest first.
func active(p *livePool) []Request {
	now := time.Now()
	all := []Request{}
	for _, listed := range p.requests.all() {
		if r := listed.(*run).view(now); r.Phase != phaseWaiting {
			all = append(all, r)
		}
	}
	return all
}

// noteDeparture abandons the permit of a run whose client has left.
func (run *run) noteDeparture() {
	if run.progress.phase() == phaseRunning && run.client.Context().Err() != nil {
		run.permit.Abandon()
	}
}

// findRun returns the request with that id, in its outermost pool, nil if there is
// none.
func findRun(id wantedID) *run {
	for _, pool := range allPools() {
		for _, listed := range pool.everyRequest() {
			if run := listed.(*run); id.of(run.id()) {
				return run.root()
			}
		}
	}
	return nil
}

// runAt returns the request at a place, nil if it is none of ours.
func runAt(place *offloader.Place) *run {
	if place == nil {
		return nil
	}
	run, _ := place.Owner.(*run)
	return run
}

var _ request = (*run)(nil)
