package offloader

import "time"

// Waiter is one caller in a pool's queue.
type Waiter struct {
	// Ticket of the caller, nil without one.
	Ticket *Ticket
	// Waited is the time since the caller joined the queue.
	Waited time.Duration
	// Claim of the caller as the pool counts it, empty in a pool that needs no claims.
	Claim Claim
	// Aside: the caller has to wait because its key holds as many permits as it may.
	Aside bool
}

// Waiters lists the queue in the order of service. The order is that of this moment:
// newcomers may be served before, waiters may leave, and a waiter that would be late may be
// served out of turn. Waiters whose keys hold all permits that they may hold come last.
func (p *Pool) Waiters() []Waiter { return p.gate.waiters(p.now()) }

// waiters lists the queue in the order in which handOver would serve it.
func (g *gate) waiters(now moment) []Waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Waiter, 0, g.queue.all())
	add := func(w *waiter) { all = append(all, g.listed(w, now)) }
	for e := g.queue.preflights.Front(); e != nil; e = e.Next() {
		add(e.Value)
	}
	if g.shares != nil {
		g.eachShared(now, add)
		return all
	}
	for _, l := range [...]*line{&g.queue.back, &g.queue.kept} {
		for e := l.Front(); e != nil; e = e.Next() {
			add(e.Value)
		}
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

func (g *gate) listed(w *waiter, now moment) Waiter {
	l := Waiter{Ticket: w.ticket, Waited: now.since(w.arrived)}
	if w.seat != nil {
		l.Claim, l.Aside = g.shares.counted(g.shares.newcomer(g, w.ticket, w.comesFirst())), w.seat.Aside()
	}
	return l
}

// eachShared calls add for the waiters in the order in which handOutShared would serve
// them.
func (g *gate) eachShared(now moment, add func(*waiter)) {
	first := g.shares.first
	if first != nil {
		add(first)
	}
	for _, s := range g.shares.queue.Order(int64(now), g.load(), g.healthyWith) {
		if w := s.Value.(*waiter); w != first {
			add(w)
		}
	}
	for _, w := range g.queue.forPermits() {
		if w.seat.Aside() {
			add(w)
		}
	}
}

// ahead is the number of waiters that will be served before a newcomer, which comes at its
// turn if it is kept.
func (g *gate) ahead(kept bool) int {
	if !kept && g.healthyWith(g.queue.len+1) {
		return g.queue.len
	}
	return g.queue.before()
}

// predict is the wait of a newcomer behind that many waiters.
func (g *gate) predict(ahead int) time.Duration { return time.Duration(g.drain(ahead + 1)) }

// predictNext predicts the wait of the next newcomer.
func (g *gate) predictNext() time.Duration { return g.predict(g.ahead(false)) }
