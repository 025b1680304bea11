package offloader

import "slices"

// successor is the pool that lends permits to this gate's runs, nil without one.
func (g *gate) successor() *Pool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.loan == nil {
		return nil
	}
	return g.loan.heir
}

// borrowFrom begins a loan with the current runs. It reports false if there is a loan.
func (g *gate) borrowFrom(l *loan) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.loan != nil {
		return false
	}
	g.loan, l.kept = l, g.running
	l.heir.gate.lendAll(l.kept)
	return true
}

func (g *gate) lendAll(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running += n
	g.lent += n
}

// payBack ends a loan. Waiters that needed a permit of the successor may get one now.
func (g *gate) payBack(l *loan, now moment) verdicts {
	l.heir.gate.stopAsking(l)
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if g.loan != l {
		return out
	}
	g.loan = nil
	out.send(transfer{loan: l, back: l.kept})
	g.handOver(now, &out)
	return out
}

func (g *gate) stopAsking(l *loan) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l.asks, l.binding = false, false
	g.asking = slices.DeleteFunc(g.asking, func(other *loan) bool { return other == l })
}

// lend gives one permit to an elder pool, or notes that the pool asks for one.
func (g *gate) lend(l *loan) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.binding && (g.running >= g.concurrency || !g.claim()) {
		g.ask(l)
		return false
	}
	g.running++
	g.lent++
	return true
}

// keeps reports whether an elder pool may reuse a permit that it holds. It may not if
// more permits are out than the limit: the pool then asks for one after it has given
// that back.
func (g *gate) keeps(l *loan) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	within := g.running <= g.concurrency && (g.loan == nil || g.loan.heir.gate.keeps(g.loan))
	if l.binding && !within {
		g.ask(l)
		return false
	}
	return true
}

// received adds a permit to the loan.
func (g *gate) received(l *loan, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if g.loan != l { // the loan has ended meanwhile
		out.send(transfer{loan: l, back: 1})
		return out
	}
	l.kept++
	g.handOver(now, &out)
	return out
}

// repaid takes permits back from an elder pool. Each one comes free like a permit of a
// run in this pool.
func (g *gate) repaid(n int, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	for range n {
		g.freed(now, &out)
		g.running--
		g.lent--
		g.handOver(now, &out)
	}
	return out
}

func (g *gate) inFlightNow() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inFlight()
}

// The methods below require g.mu.

// claim is called before a permit is taken. With a successor it takes one of that pool's
// permits, or asks for one if there is none.
func (g *gate) claim() bool {
	l := g.loan
	switch {
	case l == nil:
		return true
	case l.kept > g.running:
		return l.heir.gate.keeps(l)
	case !l.heir.gate.lend(l):
		return false
	}
	l.kept++
	return true
}

// admission is decide, with a claim if the decision is to admit.
func (g *gate) admission(t *Ticket, kept bool) (decision, Reason) {
	a, r := g.decide(t, kept)
	switch {
	case a != admit || g.loan == nil || g.claim():
		return a, r
	case g.queueLimit == 0:
		return rejectNow, QueueFull
	}
	return queueUp, 0
}

func (g *gate) ask(l *loan) {
	if !l.asks {
		l.asks = true
		g.asking = append(g.asking, l)
	}
}

// grant serves elder pools that ask for permits, before any waiter.
func (g *gate) grant(out *verdicts) {
	for len(g.asking) > 0 && g.running < g.concurrency && g.claim() {
		l := g.asking[0]
		g.asking = slices.Delete(g.asking, 0, 1)
		l.asks = false
		g.running++
		g.lent++
		out.send(transfer{loan: l, granted: true})
	}
}

// repay gives unused permits back to the successor.
func (g *gate) repay(out *verdicts) {
	if l := g.loan; l.kept > g.running {
		out.send(transfer{loan: l, back: l.kept - g.running})
		l.kept = g.running
	}
}

// ownLimit is the limit without the permits that elder pools hold, zero for no limit.
func (g *gate) ownLimit() int {
	limit := g.givenOut()
	if limit == unlimited {
		return 0
	}
	return max(limit-g.lent, 0)
}
