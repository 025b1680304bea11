package offloader

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/internal/upstream"
)

// unlimited stands for "no limit" in the gate.
const unlimited = math.MaxInt32

// needsTime is the value of gate.turned in a gate that keeps no turns but has shares, which
// need the time at which newcomers come.
const needsTime = -1

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
	// Written under mu, read without it.
	phase  atomic.Uint32 // a Phase
	turned atomic.Int32  // number of turns that are kept, or needsTime
	full   atomic.Bool   // see isFull
	binds  atomic.Bool   // upstreams is not nil

	recoveries int32        // number of warm-ups so far; guarded by mu
	lastBegan  atomic.Int64 // the moment of the last permit; written without mu

	// Guarded by mu. Runs only read these fields, so they are kept apart from the fields
	// next to mu, which each run writes.
	configured  int // permits
	concurrency int // the same, or those of all upstreams if they are fewer
	limit       int // of fresh runs: concurrency, or less while the pool warms up
	queueLimit  int
	maxWait     time.Duration
	shares      *shares       // nil until a setting or a caller needs them
	upstreams   *upstream.Set // nil if they are not counted

	mu      sync.Mutex
	running int // permits taken, including lingering and lent ones
	fresh   int // runs since the last warm-up began that are neither abandoned nor lingering

	mostRunning, mostWaiting int // since the pool was made; lent permits do not count

	free  *slot
	ended [outcomeCount]uint64 // runs, by outcome
	queue queue
	runs  runTimes

	fifo       bool
	lingering  int
	abandoned  int  // running without their callers
	announced  int  // calls that prepare and have not acquired yet
	capped     int  // running, and bound to half of the permits
	preflights int  // running, without permits
	holding    bool // no permits are given out, since the breaker is open; see hold.go
	lent       int  // permits held by runs of elder pools
	warmUp     warmUp
	queued     moment // when the last waiter joined, zero for never
	pace       pace
	line       virtualLine
	turns      turns
	schedule   schedule
	calendar   calendar
	asking     []*loan       // loans to elder pools that wait for a permit
	loan       *loan         // from the successor, nil without one
	idle       chan struct{} // closed when nothing is in flight, nil if no caller waits for that
}

// enter takes a permit for a newcomer if one is free and the queue is empty.
func (g *gate) enter(n *newcomer) (*slot, decision, Reason) {
	if g.refuses(n) {
		return nil, rejectNow, QueueFull
	}
	g.mu.Lock()
	defer g.unlock()
	if n.ticket.shares() {
		g.share()
	}
	a, r := g.admission(n.ticket, g.arrives(&n.client, n.came))
	if a == admit {
		return g.letIn(n, n.came), a, r
	}
	return nil, a, r
}

// admissible returns the reason to reject a newcomer at once, or zero.
func (g *gate) admissible(n *newcomer) Reason {
	if g.refuses(n) {
		return QueueFull
	}
	g.mu.Lock()
	defer g.unlock()
	return g.rejection(n)
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.all()
}

// wait queues a newcomer for which enter returned queueUp. If the gate can admit the
// newcomer or has to reject it by now, wait returns that decision, with the permit in w.
func (g *gate) wait(w *waiter, n *newcomer, now moment) (decision, Reason, verdicts) {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if n.record != nil {
		n.ticket.record = n.record
	}
	g.rejectLate(now, &out)
	g.makeRoom(now, &out)
	kept := g.takesTurn(&n.client, now)
	a, r := g.admission(n.ticket, kept)
	switch a {
	case admit:
		w.slot = g.letIn(n, now)
	case queueUp:
		if g.queue.all() >= g.queueLimit && !n.ticket.returns() && !n.ticket.patient() {
			g.displace(n, kept, now, &out)
		}
		if kept && !w.back {
			g.useTurn(w, &n.client, now)
		}
		g.join(w, now)
		g.makeRoom(now, &out)
	}
	return a, r, out
}

// leave takes a waiter whose caller left out of the queue. It reports false if a
// verdict was already on its way.
func (g *gate) leave(w *waiter, n *newcomer, now moment, out *verdicts) bool {
	g.mu.Lock()
	defer g.unlock()
	if !w.queued {
		return false
	}
	g.noteEnd(w, 0, now)
	g.turns.count(&n.client, -1)
	g.unqueue(w, now)
	g.makeRoom(now, out)
	g.wakeIfIdle()
	return true
}

// release takes back the permit of a run that has ended and hands it to a waiter. It
// returns the waiters to wake and the time at which expire is due.
func (g *gate) release(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.unlock()
	g.concludes(s, run, o, now)
	return g.comeFree(s, now), g.due()
}

// putBack returns a permit that no run has used.
func (g *gate) putBack(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	s.unused = true
	g.giveBack(s, now, &out)
	return out
}

// linger counts a run that has ended, and keeps its permit taken until endLinger. It
// returns the same values as release.
func (g *gate) linger(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.unlock()
	g.concludes(s, run, o, now)
	g.retire(s)
	g.ends(s)
	g.lingering += s.permits()
	var out verdicts
	g.handOver(now, &out) // the ramp may have made room
	return out, g.due()
}

// endLinger takes back a permit that linger has kept.
func (g *gate) endLinger(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	g.lingering -= s.permits()
	return g.comeFree(s, now)
}

// configure applies settings. A smaller limit takes effect as runs end; waiters beyond
// a shorter queue stay.
func (g *gate) configure(s Settings, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	g.configured = s.Concurrency
	if s.Concurrency == 0 {
		g.configured = unlimited
	}
	g.resize()
	g.queueLimit, g.maxWait, g.fifo = s.Queue, s.MaxWait, s.Order == OrderFIFO
	g.configureShares(s, now)
	var out verdicts
	g.handOver(now, &out)
	g.rejectLate(now, &out)
	g.makeRoom(now, &out)
	return out
}

// expire rejects waiters that have waited for the longest wait. It returns when it is due
// again, zero for never.
func (g *gate) expire(now moment) (moment, verdicts) {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	g.rejectLate(now, &out)
	g.makeRoom(now, &out)
	return g.due(), out
}

// nextDue returns when expire must be called next, zero for never.
func (g *gate) nextDue() moment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.due()
}

// rejectAll empties the queue for one reason.
func (g *gate) rejectAll(r Reason, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	for _, l := range g.queue.lines() {
		g.rejectLine(l, r, now, &out)
	}
	g.rejectLine(&g.queue.patient, r, now, &out)
	g.wakeIfIdle()
	return out
}

// The methods below require g.mu.

// decide returns the decision on a newcomer. t is its ticket, nil without one; kept is true
// if it was rejected before and comes back at its turn, the time that it was given.
func (g *gate) decide(t *Ticket, kept bool) (decision, Reason) {
	shut := g.shutFor(t)
	switch {
	case shut != 0:
		return rejectNow, shut
	case t.preflight():
		return g.decidePreflight()
	case g.shares != nil:
		return g.decideShared(t, kept)
	case g.capReached(t, 1):
		return rejectNow, t.CappedBy
	case g.vacant() && g.queue.len == 0 && !g.stopped():
		return admit, 0
	case t.returns():
		return queueUp, 0
	case g.queue.all() >= g.queueLimit && !g.displaces(kept):
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
	if n.ticket.preflight() {
		return g.takePreflight()
	}
	s := g.take(g.cost(n.ticket))
	if g.shares != nil {
		g.startShared(s, n.ticket, now)
	}
	g.beginCapped(s, n.ticket)
	return s
}

// join queues a waiter.
func (g *gate) join(w *waiter, now moment) {
	switch {
	case w.ticket.preflight():
		g.joinPreflight(w, now)
		return
	case w.ticket.patient():
		g.joinPatient(w, now)
		return
	}
	w.breaksCalm = g.queue.len == 0 && g.calm(now) && !g.stopped()
	g.queued = max(now, 1)
	if g.queue.len == 0 {
		g.pace.begin(g.running, now)
	}
	g.pace.came += g.cost(w.ticket)
	g.noteJoin(w, now)
	g.enqueue(w)
	if g.shares != nil {
		g.waitShared(w, now)
	}
}

func (g *gate) enqueue(w *waiter) {
	g.queue.push(w)
	g.mostWaiting = max(g.mostWaiting, g.queue.all())
	g.arrived(w.ticket)
}

// take gives out the permit of a run, which takes so many at its upstream.
func (g *gate) take(permits int) *slot {
	g.running++
	g.fresh++
	g.mostRunning = max(g.mostRunning, g.running-g.lent)
	s := g.unused()
	s.preflight = false
	s.recovery = g.recoveries
	if g.upstreams != nil {
		s.at = g.upstreams.Take(permits)
	}
	s.last = !g.vacant()
	return s
}

// unused returns memory for the state of a new run.
func (g *gate) unused() *slot {
	s := g.free
	if s == nil {
		s = new(slot)
	}
	g.free, s.next = s.next, nil
	return s
}

// concludes counts a run that has ended.
func (g *gate) concludes(s *slot, run time.Duration, o Outcome, now moment) {
	g.ended[o]++
	g.learn(s, run, now)
	g.judge(s, o, now)
}

// comeFree returns a permit that a run has used.
func (g *gate) comeFree(s *slot, now moment) verdicts {
	var out verdicts
	if g.queue.len > 0 && !s.preflight && !g.holding {
		g.freed(s.permits(), now, &out)
	}
	g.giveBack(s, now, &out)
	return out
}

func (g *gate) giveBack(s *slot, now moment, out *verdicts) {
	if s.preflight {
		g.preflights--
	} else {
		g.running -= s.permits()
	}
	g.retire(s)
	g.ends(s)
	g.leaveUpstream(s, out)
	if s.seat != nil {
		g.endShared(s, now)
	}
	s.marks = marks{}
	s.next, g.free = g.free, s
	g.handOver(now, out)
}

// displace rejects a waiter of the full queue, so that newcomer n gets its place. kept is
// true if n comes back at its turn.
func (g *gate) displace(n *newcomer, kept bool, now moment, out *verdicts) {
	w, by := g.displaced(), ByNewer
	switch {
	case g.shares != nil && !n.ticket.preflight():
		w, by = g.yields(g.shares.newcomer(g, n.ticket, kept))
	case kept:
		by = ByTurn
	}
	g.reject(w, by.reason(), now, out)
	if w.ticket == nil || w.ticket.record == nil {
		return
	}
	w.ticket.record.Displaced = by
	if n.ticket != nil {
		w.ticket.record.by = n.ticket.Caller
	}
}

func (g *gate) rejectLine(l *line, r Reason, now moment, out *verdicts) {
	for w := l.front(); w != nil; w = l.front() {
		g.reject(w, r, now, out)
	}
}

func (g *gate) reject(w *waiter, r Reason, now moment, out *verdicts) {
	g.noteEnd(w, r, now)
	if w.seat != nil {
		g.rejectedShared(w.ticket)
	}
	g.unqueue(w, now)
	w.reason = r
	out.add(w)
}

// unqueue takes a waiter out of the queue that gets no permit.
func (g *gate) unqueue(w *waiter, now moment) {
	g.queue.remove(w)
	if w.seat != nil {
		g.leaveShared(w, now)
	}
}

// calm reports whether no caller has joined the queue for a while.
func (g *gate) calm(now moment) bool {
	return g.queued == 0 || time.Duration(now-g.queued) > SaturationCalm
}
