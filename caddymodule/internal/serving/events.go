package serving

import (
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Events of a run while its handlers work: timers expire, and the writer passes the
// response on.

// start begins the timeouts of the run. The budget has a timer of each request, while the
// others are the same for all requests of a route and share a list.
func (t *timeouts) start() {
	rt := t.run.Route
	rt.early.Start(&t.early, t)
	rt.runTime.Start(&t.runTime, t)
	if l := (limits{t.run}).inAll(); l.Any() {
		t.run.mu.Lock()
		t.run.budget.timer = time.AfterFunc(time.Until(l.End), t.run.ending.budgetOver)
		t.run.mu.Unlock()
	}
}

// stop ends them.
func (t *timeouts) stop() {
	t.stopEarly()
	t.stopRunTime()
}

// stopRunTime ends run_timeout and the budget of the request.
func (t *timeouts) stopRunTime() {
	t.run.Route.runTime.Stop(&t.runTime)
	if t.run.budget == nil {
		return
	}
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	if t.run.budget.timer != nil {
		t.run.budget.timer.Stop()
	}
}

// stopEarly ends the timeout for the head of the response. It holds the lock, since notice
// moves the timer from one list to another.
func (t *timeouts) stopEarly() {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	list := t.run.Route.early
	if t.noticed {
		list = t.run.Route.firstByteRest
	}
	list.Stop(&t.early)
}

// Expired is called when one of the run's timers has expired.
func (t *timeouts) Expired(timer *timerlist.Timer) {
	switch {
	case timer == &t.runTime:
		t.run.ending.cancelFor(requests.RunTimeout)
	case t.notice():
	default:
		t.run.ending.cancelFor(requests.FirstByteTimeout)
	}
}

// notice is called when a run has no response after noticeAfter, which few runs reach. Only
// then it starts the costly parts: the watch over the client, and the rest of a long
// first_byte_timeout. It returns false if that timeout is over.
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

// owner is the run as the owner of its response writer, which calls these methods.
type owner struct{ *Run }

// HeadSent ends the wait for the first byte.
func (o owner) HeadSent(status int, _ bool) {
	o.timeouts.stopEarly()
	if verdict(o).judgeHead(status) == offloader.Success {
		o.permit.Began()
	}
	if isEndless(o.writer.Header()) {
		o.beginEndless()
	}
}

// beginEndless notes that the answer is a stream of events.
func (o owner) beginEndless() {
	o.permit.Untimed()
	o.mu.Lock()
	o.endless = true
	goesOn := o.ticket.Patient || o.ending.watchExit() // the attempt of a job is not cut at once
	o.mu.Unlock()
	if !goesOn {
		o.ending.abandonFor(pools.ErrExiting)
	}
}

// GoesOn starts to watch the client of a response that goes on, if no helper goroutine
// would notice that the client leaves. Most responses have ended before. If the client has
// left by now, the run is abandoned.
func (o owner) GoesOn() {
	switch {
	case o.ticket.Patient, o.rule() == abandonFinish, o.body.broken != nil: // there is none, or it is known to have left
	case o.client.Context().Err() != nil:
		o.ending.abandon()
	default:
		o.ending.watchClient()
	}
}

// Upgraded takes the run out of the pool, unless upgrades hold their permits.
func (o owner) Upgraded() {
	if o.Route.HoldUpgrades {
		return
	}
	o.timeouts.stopRunTime()
	o.upgraded = true
	o.progress.Enter(requests.PhaseUpgraded, time.Now())
	o.Route.Pool.Runs.Observe(o.runTook().Seconds())
	o.permit.Detach()
}

// ClientLost cancels a run whose response no client receives.
func (o owner) ClientLost() {
	if o.rule() != abandonFinish {
		o.ending.abandon()
	}
}

var _ bridge.Owner = owner{}
