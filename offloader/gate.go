package offloader

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// unlimited stands for "no limit" inside the gate.
const unlimited = math.MaxInt32

// answer of the gate to a newcomer.
type answer uint8

const (
	refuse  answer = iota // see the reason
	admit                 // a slot was taken
	queueUp               // room to wait
)

// gate hands out slots: at once while there are any, else in the queue's order
// as they come back. It reads no clock; callers pass the time in where it
// matters, and it calls nobody while it holds its mutex.
type gate struct {
	mu sync.Mutex

	phase     atomic.Uint32 // a phase; it changes only under mu
	turned    atomic.Int32  // how many turns are kept; it changes only under mu
	lastBegan atomic.Int64  // the moment of the last permit

	// All guarded by mu.
	concurrency int // as configured
	limit       int // of fresh runs: concurrency, or less while ramping up
	fresh       int // running since the last ramp began, not abandoned, not lingering
	warmUp      warmUp
	recoveries  int // how often a warm-up has begun
	places      int
	maxWait     time.Duration
	fifo        bool
	running     int // slots taken, lingering and lent ones included
	lingering   int
	abandoned   int // running for nobody
	uploading   int // let in and not here yet
	unspooled   int // running with a request body that is not spooled and has not ended
	lent        int // held by runs of pools that this one succeeds
	queue       queue
	queued      moment // when the last one began to wait, zero for never
	free        *slot
	runs        runTimes
	pace        pace
	line        virtualLine
	turns       turns
	calendar    calendar
	asking      []*loan       // of those pools, which wait for permits
	loan        *loan         // the other way round, nil without a successor
	idle        chan struct{} // closed when nothing is in flight, nil if nobody waits for it
}

// enter takes a slot for a newcomer if one is free and nobody waits.
func (g *gate) enter(n *newcomer) (*slot, answer, Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, r := g.admission(n.place, g.arrives(&n.client, n.came))
	if a == admit {
		return g.letIn(n, n.came), a, r
	}
	return nil, a, r
}

// room reports why a newcomer would be refused at once, or zero.
func (g *gate) room(n *newcomer) Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal(n)
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.len
}

// wait queues a newcomer whom enter told to, unless things changed meanwhile:
// then it answers as enter does, with the slot in w.
func (g *gate) wait(w *waiter, n *newcomer, now moment) (answer, Reason, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.refuseLate(now, &out)
	kept := g.takesTurn(&n.client, now)
	a, r := g.admission(n.place, kept)
	switch a {
	case admit:
		w.slot = g.letIn(n, now)
	case queueUp:
		if g.queue.len >= g.places {
			g.refuse(g.displaced(), QueueFull, &out)
		}
		if kept {
			g.useTurn(w, &n.client, now)
		}
		g.join(w, now)
	}
	return a, r, out
}

// abandon takes a waiter whose caller left out of the queue. It reports false
// when a verdict was already on its way.
func (g *gate) abandon(w *waiter, n *newcomer) bool {
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

// leave gives a slot back after a run and hands it on. It returns as expire
// does when to look again.
func (g *gate) leave(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.learn(s, run, now)
	g.judge(s, o, now)
	return g.comeFree(s, now), g.due()
}

// cede gives back a slot that no run has used.
func (g *gate) cede(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.giveBack(s, now, &out)
	return out
}

// linger counts a slot whose run has ended but that is kept for a while. It
// returns what leave does.
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

// lingered gives such a slot back.
func (g *gate) lingered(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lingering--
	return g.comeFree(s, now)
}

// configure applies settings to the living gate. A smaller limit takes effect
// as runs end; waiters beyond a smaller queue keep their places.
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
	g.places, g.maxWait, g.fifo = s.Queue, s.MaxWait, s.Order == OrderFIFO
	var out verdicts
	g.handOver(now, &out)
	g.refuseLate(now, &out)
	return out
}

// expire refuses the waiters whose time is up and returns when to look again,
// zero if nobody waits against the clock.
func (g *gate) expire(now moment) (moment, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.refuseLate(now, &out)
	return g.due(), out
}

// nextDue is when expire has to be called next, zero for never.
func (g *gate) nextDue() moment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.due()
}

// refuseAll empties the queue for one reason.
func (g *gate) refuseAll(r Reason) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	for _, l := range [...]*list{&g.queue.kept, &g.queue.line} {
		for l.front != nil {
			g.refuse(l.front, r, &out)
		}
	}
	g.wakeIfIdle()
	return out
}

// The methods below require g.mu.

// decide says what becomes of a newcomer; pl is its place, nil if it has none, and
// kept says that it comes at its turn.
func (g *gate) decide(pl *Place, kept bool) (answer, Reason) {
	shut := g.shutFor(pl)
	switch {
	case shut != 0:
		return refuse, shut
	case g.unspooledFull(pl):
		return refuse, UnspooledLimit
	case g.vacant() && g.queue.len == 0 && !g.paused():
		return admit, 0
	case g.queue.len >= g.places && !g.displaces(kept):
		return refuse, QueueFull
	}
	return queueUp, 0
}

// refusal is why a newcomer is refused before it enters, or zero.
func (g *gate) refusal(n *newcomer) Reason {
	a, r := g.decide(n.place, g.takesTurn(&n.client, n.came))
	if a == refuse {
		g.turns.count(&n.client, 1) // until it has its answer
	}
	return r
}

// letIn gives a newcomer a slot.
func (g *gate) letIn(n *newcomer, now moment) *slot {
	g.served(&n.client, now)
	g.endUpload(n.place)
	s := g.take()
	g.beginUnspooled(s, n.place)
	return s
}

// join queues a waiter for which there is a place.
func (g *gate) join(w *waiter, now moment) {
	w.breaksCalm = g.queue.len == 0 && g.calm(now) && !g.paused()
	g.queued = max(now, 1)
	if g.queue.len == 0 {
		g.pace.begin(g.running, now)
	}
	g.pace.came++
	g.noteArrival(w)
	g.queue.push(w)
	g.endUpload(w.place)
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

// comeFree gives a slot back that a run has used.
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

// handOver gives free slots to waiters, unless the gate is paused. Who can no
// longer be served in time is refused first, so that no slot goes to somebody who
// has to leave.
func (g *gate) handOver(now moment, out *verdicts) {
	if len(g.asking) > 0 {
		g.grant(out)
	}
	if g.vacant() {
		g.refuseLate(now, out)
	}
	for g.vacant() && g.queue.len > 0 && !g.paused() {
		w := g.pick(now)
		if w.deadline != 0 && w.deadline <= now {
			g.refuse(w, WaitTimeout, out)
			continue
		}
		if g.unspooledFull(w.place) {
			g.refuse(w, UnspooledLimit, out)
			continue
		}
		if g.loan != nil && !g.claim() {
			break
		}
		g.queue.remove(w)
		w.slot = g.take()
		w.slot.started = now
		g.beginUnspooled(w.slot, w.place)
		out.add(w)
	}
	if g.loan != nil {
		g.repay(out)
	}
	g.wakeIfIdle()
}

func (g *gate) refuse(w *waiter, r Reason, out *verdicts) {
	g.queue.remove(w)
	w.reason = r
	out.add(w)
}

// calm reports whether nobody has begun to wait for a while.
func (g *gate) calm(now moment) bool {
	return g.queued == 0 || time.Duration(now-g.queued) > SaturationCalm
}
