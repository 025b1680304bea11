package serving

import (
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
)

// timeouts are those of a run.
type timeouts struct {
	run     *Run
	early   timerlist.Timer // until the head: first the notice, then the first byte
	runTime timerlist.Timer
	noticed bool // the run has gone on for longer than most; guarded by run.mu
}

// start begins both.
func (t *timeouts) start() {
	rt := t.run.Route
	rt.early.Start(&t.early, t)
	rt.RunTime.Start(&t.runTime, t)
}

// stop ends both.
func (t *timeouts) stop() {
	t.stopEarly()
	t.stopRunTime()
}

func (t *timeouts) stopRunTime() { t.run.Route.RunTime.Stop(&t.runTime) }

// stopEarly ends the wait for the head. It must not come between the end of one list and
// the begin of the other.
func (t *timeouts) stopEarly() {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	list := t.run.Route.early
	if t.noticed {
		list = t.run.Route.firstByteRest
	}
	list.Stop(&t.early)
}

// Expired is called by the list of one of the timers.
func (t *timeouts) Expired(timer *timerlist.Timer) {
	switch {
	case timer == &t.runTime:
		t.run.ending.cancelFor(requests.RunTimeout)
	case t.notice():
	default:
		t.run.ending.cancelFor(requests.FirstByteTimeout)
	}
}

// notice is called when a run goes on without a head for longer than most do. What costs
// more than the others have to spare begins here: the watch over the client, and the rest
// of a long wait for the first byte. It reports false if that wait is over.
func (t *timeouts) notice() bool {
	run := t.run
	if run.Route.firstByteRest == nil || t.wasNoticed() {
		return false
	}
	run.ending.watchClient()
	run.mu.Lock()
	defer run.mu.Unlock()
	if !run.ended && run.writer.Status() == 0 {
		t.noticed = true
		run.Route.firstByteRest.Start(&t.early, t)
	}
	return true
}

func (t *timeouts) wasNoticed() bool {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	return t.noticed
}
