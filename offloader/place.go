package offloader

import "time"

// Place is a caller's place in the queue, for callers who want to know what they
// found there, to be listed, or to be refused by others. The zero value is ready;
// it serves one caller at a time and costs an admission nothing.
type Place struct {
	// Owner tells the users of Pool.Waiters whose place it is.
	Owner any

	// PassDrain admits the caller although the pool drains: it belongs to work
	// that was let in before.
	PassDrain bool

	// Unspooled says that the caller brings a request body that is not spooled. Such
	// callers get at most half of the permits at once, one at least, until
	// Permit.BodyEnded; beyond that they are refused with UnspooledLimit.
	Unspooled bool

	// Written by the caller's own goroutine under the gate's mutex.
	joined    bool
	kept      bool // it came at its turn
	ahead     int32
	predicted time.Duration
	uploading bool // the pool counts it; the caller may read it without the mutex

	waiter *waiter // guarded by the gate's mutex, nil while nobody waits here
}

// Joined reports whether the caller had to join the queue. Only the caller may
// ask, after its acquisition.
func (pl *Place) Joined() bool { return pl.joined }

// Ahead returns how many were to be served before the caller when it joined the
// queue: zero if it did not have to. Only the caller may ask, after its
// acquisition.
func (pl *Place) Ahead() int { return int(pl.ahead) }

// PredictedWait returns how long the caller was to wait when it joined the queue,
// by Snapshot.MeanRun: zero if it did not have to, or if no run had ended
// before. Only the caller may ask, after its acquisition.
func (pl *Place) PredictedWait() time.Duration { return pl.predicted }

// Waiter is one caller in a pool's queue.
type Waiter struct {
	// Place that it acquires with, nil without one.
	Place *Place
	// Waited is how long it has waited in the queue.
	Waited time.Duration
}

// Waiters lists those who wait, in the order in which they will be served if
// nobody comes or leaves, and none has to be served before its turn lest it be late.
func (p *Pool) Waiters() []Waiter { return p.gate.waiters(p.now()) }

// Cancel refuses the caller who waits at pl, with the reason Cancelled. It reports
// whether one did.
func (p *Pool) Cancel(pl *Place) bool {
	out, ok := p.gate.cancel(pl)
	out.tell()
	return ok
}

// noteArrival writes down what a newcomer finds who is about to join the queue. It
// requires g.mu.
func (g *gate) noteArrival(w *waiter) {
	if pl := w.place; pl != nil {
		ahead := g.ahead(w.kept)
		pl.joined, pl.ahead, pl.predicted = true, int32(ahead), g.predict(ahead)
	}
}

// ahead is how many waiters are to be served before a newcomer. It requires g.mu.
func (g *gate) ahead(kept bool) int {
	if !kept && g.healthyWith(g.queue.len+1) {
		return g.queue.len
	}
	return g.queue.kept.len
}

// predict is how long a newcomer is to wait with so many ahead. It requires g.mu.
func (g *gate) predict(ahead int) time.Duration { return time.Duration(g.drain(ahead + 1)) }

// predictNext is how long a newcomer is to wait. It requires g.mu.
func (g *gate) predictNext() time.Duration { return g.predict(g.ahead(false)) }

func (g *gate) cancel(pl *Place) (verdicts, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if pl.waiter == nil {
		return out, false
	}
	g.refuse(pl.waiter, Cancelled, &out)
	g.wakeIfIdle()
	return out, true
}

// waiters plays handOver without handing anything over.
func (g *gate) waiters(now moment) []Waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Waiter, 0, g.queue.len)
	add := func(w *waiter) { all = append(all, Waiter{w.place, time.Duration(now - w.arrived)}) }
	for w := g.queue.kept.front; w != nil; w = w.next {
		add(w)
	}
	front, back := g.queue.line.front, g.queue.line.back
	for n := g.queue.line.len; n > 0; n-- {
		w := front
		if g.healthyWith(n) {
			front = front.next
		} else {
			w, back = back, back.prev
		}
		add(w)
	}
	return all
}
