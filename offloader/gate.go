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

	phase atomic.Uint32 // a phase; it changes only under mu

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
	lent        int // held by runs of pools that this one succeeds
	queue       queue
	queued      moment // when the last one began to wait, zero for never
	free        *slot
	mean        meanRun
	line        virtualLine
	asking      []*loan       // of those pools, which wait for permits
	loan        *loan         // the other way round, nil without a successor
	idle        chan struct{} // closed when nothing is in flight, nil if nobody waits for it
}

// enter takes a slot for a newcomer if one is free and nobody waits.
func (g *gate) enter(pl *Place) (*slot, answer, Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, r := g.admission(pl)
	if a == admit {
		s := g.take()
		g.endUpload(pl)
		return s, a, r
	}
	return nil, a, r
}

// room reports why a newcomer would be refused at once, or zero.
func (g *gate) room() Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, r := g.decide(nil)
	return r
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.len
}

// wait queues a newcomer whom enter told to, unless things changed meanwhile:
// then it answers as enter does, with the slot in w.
func (g *gate) wait(w *waiter, now moment) (answer, Reason, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	g.refuseLate(now, &out)
	a, r := g.admission(w.place)
	switch a {
	case admit:
		w.slot = g.take()
		g.endUpload(w.place)
	case queueUp:
		if g.queue.len >= g.places {
			g.refuse(g.queue.front, QueueFull, &out)
		}
		w.breaksCalm = g.queue.len == 0 && g.calm(now) && !g.paused()
		g.queued = max(now, 1)
		g.noteArrival(w.place)
		g.queue.push(w)
		g.endUpload(w.place)
		g.refuseLate(now, &out)
	}
	return a, r, out
}

// abandon takes a waiter whose caller left out of the queue. It reports false
// when a verdict was already on its way.
func (g *gate) abandon(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.queued {
		return false
	}
	g.queue.remove(w)
	g.wakeIfIdle()
	return true
}

// leave gives a slot back after a run and hands it on. It returns as expire
// does when to look again: the longer the runs take, the sooner.
func (g *gate) leave(s *slot, run time.Duration, o Outcome, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.learn(s, run, now)
	g.judge(s, o, now)
	return g.giveBack(s, now), g.due()
}

// cede gives back a slot that no run has used.
func (g *gate) cede(s *slot, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.giveBack(s, now)
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
	return g.giveBack(s, now)
}

// configure applies settings to the living gate. A smaller limit takes effect
// as runs end; waiters beyond a smaller queue keep their places.
func (g *gate) configure(s Settings, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	ramping := g.limit < g.concurrency
	g.concurrency = s.Concurrency
	if s.Concurrency == 0 {
		g.concurrency = unlimited
	}
	if !ramping || g.limit > g.concurrency {
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

// expectedWait gives a refused caller a place in the virtual line behind the
// queue, and returns when that place should have its turn.
func (g *gate) expectedWait(now moment) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mean.n == 0 || g.concurrency == unlimited {
		return minRetry
	}
	rate := float64(g.concurrency) / max(g.mean.ns, 1)
	ahead := float64(g.queue.len) + g.line.join(now, rate)
	return time.Duration(min(ahead/rate, float64(maxRetry)))
}

// refuseAll empties the queue for one reason.
func (g *gate) refuseAll(r Reason) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	for g.queue.front != nil {
		g.refuse(g.queue.front, r, &out)
	}
	g.wakeIfIdle()
	return out
}

// The methods below require g.mu.

// decide says what becomes of a newcomer; pl is its place, nil if it has none.
func (g *gate) decide(pl *Place) (answer, Reason) {
	shut := g.shutFor(pl)
	switch {
	case shut != 0:
		return refuse, shut
	case g.vacant() && g.queue.len == 0 && !g.paused():
		return admit, 0
	case g.queue.len >= g.places && !g.displaces():
		return refuse, QueueFull
	}
	return queueUp, 0
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
	return s
}

func (g *gate) giveBack(s *slot, now moment) verdicts {
	g.running--
	g.retire(s)
	g.ends(s)
	s.marks = marks{}
	s.next, g.free = g.free, s
	var out verdicts
	g.handOver(now, &out)
	return out
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
		w := g.pick()
		if w.deadline != 0 && w.deadline <= now {
			g.refuse(w, WaitTimeout, out)
			continue
		}
		if g.loan != nil && !g.claim() {
			break
		}
		g.queue.remove(w)
		w.slot = g.take()
		w.slot.started = now
		out.add(w)
	}
	if g.loan != nil {
		g.repay(out)
	}
	g.wakeIfIdle()
}

func (g *gate) pick() *waiter {
	if g.healthy() {
		return g.queue.front
	}
	return g.queue.back
}

func (g *gate) refuse(w *waiter, r Reason, out *verdicts) {
	g.queue.remove(w)
	w.reason = r
	out.add(w)
}

// healthy means that the queue, served in order, would be over within a quarter
// of the longest wait. Beyond that a queue in order makes everybody late: the
// newest can still be served quickly, the oldest cannot be helped.
//
// The configured concurrency counts, not a limit that is still ramping up:
// nobody shall be refused because of that, nor because of a slow first round.
func (g *gate) healthy() bool { return g.healthyWith(g.queue.len) }

func (g *gate) healthyWith(waiting int) bool {
	return g.fifo || g.maxWait == 0 || !g.mean.warm || g.turns(waiting) <= float64(g.maxWait)/4
}

// rest predicts the time until everybody who waits now has had a turn.
func (g *gate) rest() float64 { return g.turns(g.queue.len) }

// turns predicts the time until so many waiters have had a turn.
func (g *gate) turns(waiting int) float64 {
	return float64(waiting) * g.mean.ns / float64(g.concurrency)
}

// displaces reports whether a newcomer to a full queue takes the place of the
// oldest waiter.
func (g *gate) displaces() bool { return g.places > 0 && g.queue.len > 0 && !g.healthy() }

// refuseLate refuses the oldest waiters who waited as long as they may, or who,
// with the newest served first, will have by the time their turn comes.
func (g *gate) refuseLate(now moment, out *verdicts) {
	for g.queue.front != nil && g.maxWait > 0 {
		w := g.queue.front
		waited := time.Duration(now - w.arrived)
		switch {
		case waited >= g.maxWait:
			g.refuse(w, WaitTimeout, out)
		case !g.healthy() && float64(waited)+g.rest() > float64(g.maxWait):
			g.refuse(w, PredictedLate, out)
		default:
			return
		}
	}
	g.wakeIfIdle()
}

// due is when refuseLate has to look again, zero for never.
func (g *gate) due() moment {
	if g.queue.front == nil || g.maxWait == 0 {
		return 0
	}
	at := g.queue.front.arrived + moment(g.maxWait)
	if !g.healthy() {
		at -= moment(g.rest()) - 1 // refused when beyond, not when equal
	}
	return max(at, 1) // it may have passed; zero would mean never
}

// calm reports whether nobody has begun to wait for a while.
func (g *gate) calm(now moment) bool {
	return g.queued == 0 || time.Duration(now-g.queued) > SaturationCalm
}
