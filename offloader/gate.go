package offloader

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// unlimited stands for "no limit" in the gate.
const unlimited = math.MaxInt32

// decision of the gate on a newcomer.
type decision uint8

const (
	rejectNow decision = iota // with a reason
	admit                     // a permit was taken
	queueUp                   // the queue has room
)

// gate hands out permits: at once while some are free, else in the order of the queue as
// they come back. It reads no clock: callers pass the time where it matters. It calls no
// other code while it holds its mutex.
type gate struct {
	mu sync.Mutex

	phase     atomic.Uint32 // a Phase; written under mu
	turned    atomic.Int32  // number of turns that are kept; written under mu
	lastBegan atomic.Int64  // the moment of the last permit

	// All guarded by mu.
	concurrency int // as configured
	limit       int // of fresh runs: concurrency, or less while the pool warms up
	fresh       int // runs since the last warm-up began that are neither abandoned nor lingering
	warmUp      warmUp
	recoveries  int // number of warm-ups so far
	queueLimit  int
	maxWait     time.Duration
	fifo        bool
	running     int // permits taken, including lingering and lent ones
	lingering   int
	abandoned   int // running without their callers
	announced   int // calls that prepare and have not acquired yet
	capped      int // running, and bound to half of the permits
	lent        int // permits held by runs of elder pools
	queue       queue
	queued      moment // when the last waiter joined, zero for never
	free        *slot
	runs        runTimes
	pace        pace
	line        virtualLine
	turns       turns
	calendar    calendar
	asking      []*loan       // loans to elder pools that wait for a permit
	loan        *loan         // from the successor, nil without one
	idle        chan struct{} // closed when nothing is in flight, nil if no caller waits for that
}

// enter takes a permit for a newcomer if one is free and the queue is empty.
func (g *gate) enter(n *newcomer) (*slot, decision, Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, r := g.admission(n.ticket, g.arrives(&n.client, n.came))
	if a == admit {
		return g.letIn(n, n.came), a, r
	}
	return nil, a, r
}

// admissible returns the reason to reject a newcomer at once, or zero.
func (g *gate) admissible(n *newcomer) Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rejection(n)
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.len
}

// wait queues a newcomer for which enter returned queueUp. If that has changed meanwhile,
// it returns what enter returns, with the permit in w.
func (g *gate) wait(w *waiter, n *newcomer, now moment) (decision, Reason, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.rejectLate(now, &out)
	kept := g.takesTurn(&n.client, now)
	a, r := g.admission(n.ticket, kept)
	switch a {
	case admit:
		w.slot = g.letIn(n, now)
	case queueUp:
		if g.queue.len >= g.queueLimit {
			g.reject(g.displaced(), QueueFull, &out)
		}
		if kept {
			g.useTurn(w, &n.client, now)
		}
		g.join(w, now)
	}
	return a, r, out
}

// leave takes a waiter whose caller left out of the queue. It reports false if a
// verdict was already on its way.
func (g *gate) leave(w *waiter, n *newcomer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.queued {
		return false
	}
	g.turns.count(&n.client, -1)
	g.queue.remove(w)
	g.wakeIfIdle()
	return true
}

// release returns a permit after a run and hands it to a waiter. Like expire it returns
// when to look again.
func (g *gate) release(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.learn(s, run, now)
	g.judge(s, o, now)
	return g.comeFree(s, now), g.due()
}

// putBack returns a permit that no run has used.
func (g *gate) putBack(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.giveBack(s, now, &out)
	return out
}

// linger keeps the permit of a run that has ended for a while. It returns the same values
// as release.
func (g *gate) linger(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.learn(s, run, now)
	g.judge(s, o, now)
	g.retire(s)
	g.ends(s)
	g.lingering++
	var out verdicts
	g.handOver(now, &out) // the ramp may have made room
	return out, g.due()
}

// endLinger returns such a permit.
func (g *gate) endLinger(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lingering--
	return g.comeFree(s, now)
}

// configure applies settings. A smaller limit takes effect as runs end; waiters beyond
// a shorter queue stay.
func (g *gate) configure(s Settings, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	warming := g.warming()
	g.concurrency = s.Concurrency
	if s.Concurrency == 0 {
		g.concurrency = unlimited
	}
	if !warming || g.limit > g.concurrency {
		g.limit = g.concurrency
	}
	g.queueLimit, g.maxWait, g.fifo = s.Queue, s.MaxWait, s.Order == OrderFIFO
	var out verdicts
	g.handOver(now, &out)
	g.rejectLate(now, &out)
	return out
}

// expire rejects the waiters whose time is up and returns when to look again, zero
// for never.
func (g *gate) expire(now moment) (moment, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.rejectLate(now, &out)
	return g.due(), out
}

// nextDue is when expire is due, zero for never.
func (g *gate) nextDue() moment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.due()
}

// rejectAll empties the queue for one reason.
func (g *gate) rejectAll(r Reason) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	for _, l := range [...]*line{&g.queue.kept, &g.queue.line} {
		for w := l.front(); w != nil; w = l.front() {
			g.reject(w, r, &out)
		}
	}
	g.wakeIfIdle()
	return out
}

// The methods below require g.mu.

// decide returns the decision on a newcomer; t is its ticket, nil without one, and kept
// is true if it comes at its turn.
func (g *gate) decide(t *Ticket, kept bool) (decision, Reason) {
	shut := g.shutFor(t)
	switch {
	case shut != 0:
		return rejectNow, shut
	case g.capReached(t):
		return rejectNow, t.CappedBy
	case g.vacant() && g.queue.len == 0 && !g.paused():
		return admit, 0
	case g.queue.len >= g.queueLimit && !g.displaces(kept):
		return rejectNow, QueueFull
	}
	return queueUp, 0
}

// rejection returns the reason to reject a newcomer before it enters, or zero.
func (g *gate) rejection(n *newcomer) Reason {
	a, r := g.decide(n.ticket, g.takesTurn(&n.client, n.came))
	if a == rejectNow {
		g.turns.count(&n.client, 1) // until it is answered
	}
	return r
}

// letIn gives a newcomer a permit.
func (g *gate) letIn(n *newcomer, now moment) *slot {
	g.served(&n.client, now)
	g.arrived(n.ticket)
	s := g.take()
	g.beginCapped(s, n.ticket)
	return s
}

// join queues a waiter.
func (g *gate) join(w *waiter, now moment) {
	w.breaksCalm = g.queue.len == 0 && g.calm(now) && !g.paused()
	g.queued = max(now, 1)
	if g.queue.len == 0 {
		g.pace.begin(g.running, now)
	}
	g.pace.came++
	g.noteArrival(w)
	g.queue.push(w)
	g.arrived(w.ticket)
}

func (g *gate) take() *slot {
	g.running++
	g.fresh++
	s := g.free
	if s == nil {
		s = new(slot)
	}
	g.free, s.next = s.next, nil
	s.recovery = g.recoveries
	s.last = g.running >= g.concurrency || g.fresh >= g.limit
	return s
}

// comeFree returns a permit that a run has used.
func (g *gate) comeFree(s *slot, now moment) verdicts {
	var out verdicts
	g.freed(now, &out)
	g.giveBack(s, now, &out)
	return out
}

func (g *gate) giveBack(s *slot, now moment, out *verdicts) {
	g.running--
	g.retire(s)
	g.ends(s)
	s.marks = marks{}
	s.next, g.free = g.free, s
	g.handOver(now, out)
}

// handOver gives free permits to waiters, unless the gate is paused. It first rejects
// waiters that cannot be served in time, so that they get no permit.
func (g *gate) handOver(now moment, out *verdicts) {
	if len(g.asking) > 0 {
		g.grant(out)
	}
	if g.vacant() {
		g.rejectLate(now, out)
	}
	for g.vacant() && g.queue.len > 0 && !g.paused() {
		w := g.pick(now)
		if w.deadline != 0 && w.deadline <= now {
			g.reject(w, WaitTimeout, out)
			continue
		}
		if g.capReached(w.ticket) {
			g.reject(w, w.ticket.CappedBy, out)
			continue
		}
		if g.loan != nil && !g.claim() {
			break
		}
		g.queue.remove(w)
		w.slot = g.take()
		w.slot.started = now
		g.beginCapped(w.slot, w.ticket)
		out.add(w)
	}
	if g.loan != nil {
		g.repay(out)
	}
	g.wakeIfIdle()
}

func (g *gate) reject(w *waiter, r Reason, out *verdicts) {
	g.queue.remove(w)
	w.reason = r
	out.add(w)
}

// calm reports whether no caller has joined the queue for a while.
func (g *gate) calm(now moment) bool {
	return g.queued == 0 || time.Duration(now-g.queued) > SaturationCalm
}
