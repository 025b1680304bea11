package offloader

import "time"

// Waiter is one caller in a pool's queue.
type Waiter struct {
	// Ticket of the caller, nil without one.
	Ticket *Ticket
	// Waited is the time since the caller joined the queue.
	Waited time.Duration
}

// Waiters lists the queue in the order of service. The order is that of this moment:
// newcomers may be served before, waiters may leave, and a waiter that would be late
// may be served out of turn.
func (p *Pool) Waiters() []Waiter { return p.gate.waiters(p.now()) }

// waiters plays handOver without handing anything over.
func (g *gate) waiters(now moment) []Waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Waiter, 0, g.queue.len)
	add := func(w *waiter) { all = append(all, Waiter{w.ticket, now.since(w.arrived)}) }
	for e := g.queue.kept.Front(); e != nil; e = e.Next() {
		add(e.Value)
	}
	front, back := g.queue.line.Front(), g.queue.line.Back()
	for n := g.queue.line.Len(); n > 0; n-- {
		e := front
		if g.healthyWith(n) {
			front = front.Next()
		} else {
			e, back = back, back.Prev()
		}
		add(e.Value)
	}
	return all
}

// The methods below require g.mu.

// noteArrival records the queue length and the predicted wait for a caller that is
// about to join the queue.
func (g *gate) noteArrival(w *waiter) {
	if t := w.ticket; t != nil {
		ahead := g.ahead(w.kept)
		t.joined, t.ahead, t.predicted = true, int32(ahead), g.predict(ahead)
	}
}

// ahead is the number of waiters that will be served before a newcomer.
func (g *gate) ahead(kept bool) int {
	if !kept && g.healthyWith(g.queue.len+1) {
		return g.queue.len
	}
	return g.queue.kept.Len()
}

// predict is the wait of a newcomer behind that many waiters.
func (g *gate) predict(ahead int) time.Duration { return time.Duration(g.drain(ahead + 1)) }

// predictNext is the wait of the next newcomer.
func (g *gate) predictNext() time.Duration { return g.predict(g.ahead(false)) }
