package caddymodule

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// remember explains a request that was not served as usual, when it has ended.
func (run *run) remember() {
	switch {
	case run.tooSlow: // as with a spooled body, its status says it all
	case run.reason == offloader.Cancelled:
		run.explain(decidedCancelled)
	case run.reason != 0 && run.hadPermit():
		run.explain(decidedTimedOut)
	case run.reason != 0:
		run.explain(decidedRejected)
	case run.hadPermit() && !run.left && !run.unheard():
	case run.hadPermit() && !run.wasCancelled():
		run.explain(decidedAbandoned)
	case run.left || run.hadPermit():
		run.explain(decidedLeft)
	}
}

// unheard reports whether the run has answered to nobody: its client was not there
// any more.
func (run *run) unheard() bool {
	return run.client.Context().Err() != nil && (run.writer.Lost() || !run.writer.HeadPassedOn())
}

// wasCancelled reports whether the client's leaving has cancelled the run.
func (run *run) wasCancelled() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.abandoned
}

// explain remembers what has become of the run.
func (run *run) explain(d decision) {
	pool := run.route.Pool
	e := explanation{
		id: run.id(), at: time.Now(), pool: pool.Name(), decision: d, reason: run.reason, unspooled: run.kindWord(),
		upload: run.uploadTook, waited: run.waited, took: run.took, sends: run.sends.Load(),
		ahead: run.place.Ahead(), predicted: run.place.PredictedWait(), pressure: pool.Gauges(),
	}
	if run.reason == offloader.QueueFull && !run.place.Joined() {
		e.ahead, e.predicted = e.pressure.Waiting, e.pressure.PredictedWait
	}
	explained.add(&e, &run.who)
}
