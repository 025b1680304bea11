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

// borrowFrom begins loan l: each permit that is in use here takes a permit of the
// successor. It returns false if the gate has a loan already.
func (g *gate) borrowFrom(l *loan) bool {
	g.mu.Lock()
	defer g.unlock()
	if g.loan != nil {
		return false
	}
	g.loan, l.kept = l, g.running
	l.heir.gate.lendAll(l.kept)
	return true
}

func (g *gate) lendAll(n int) {
	g.mu.Lock()
	defer g.unlock()
	g.running += n
	g.lent += n
}

// payBack ends loan l: all borrowed permits go back to the successor. From then on this
// gate needs no permits of the successor, so waiters may be served at once.
func (g *gate) payBack(l *loan, now moment) verdicts {
	l.heir.gate.stopAsking(l)
	g.mu.Lock()
	defer g.unlock()
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
	l.wants, l.binding = 0, false
	g.asking = slices.DeleteFunc(g.asking, func(other *loan) bool { return other == l })
}

// lend is called on the successor's gate. It lends the missing permits to the elder pool.
// If too few are free, it returns false and notes that the elder pool asks for all of them.
func (g *gate) lend(l *loan, missing, all int) bool {
	g.mu.Lock()
	defer g.unlock()
	if l.binding && (g.running+missing > g.concurrency || !g.claim(missing)) {
		g.ask(l, all)
		return false
	}
	g.running += missing
	g.lent += missing
	return true
}

// size is the number of permits.
func (g *gate) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.concurrency
}

// keeps is called on the successor's gate. It reports whether the elder pool may use n of
// its borrowed permits for its next run. While more permits are in use than the limit, it
// may not: the elder pool gives them back, and is noted as asking for n.
func (g *gate) keeps(l *loan, n int) bool {
	g.mu.Lock()
	defer g.unlock()
	within := g.running <= g.concurrency && (g.loan == nil || g.loan.heir.gate.keeps(g.loan, n))
	if l.binding && !within {
		g.ask(l, n)
		return false
	}
	return true
}

// received adds n permits to the loan.
func (g *gate) received(l *loan, n int, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if g.loan != l { // the loan has ended meanwhile
		out.send(transfer{loan: l, back: n})
		return out
	}
	l.kept += n
	g.handOver(now, &out)
	return out
}

// repaid takes n permits back from the elder pool. Each comes free as if a run of this pool
// had ended.
func (g *gate) repaid(n int, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	for range n {
		if g.queue.len > 0 {
			g.freed(1, now, &out)
		}
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

// claim is called before a run takes n permits of this gate. If the pool has a successor,
// claim borrows the missing permits from it. It returns false if the successor has too few:
// that pool grants them later.
func (g *gate) claim(n int) bool {
	l := g.loan
	if l == nil {
		return true
	}
	if n > 1 {
		n = min(n, l.heir.gate.size())
	}
	missing := g.running + n - l.kept
	switch {
	case missing <= 0:
		return l.heir.gate.keeps(l, n)
	case !l.heir.gate.lend(l, missing, n):
		return false
	}
	l.kept += missing
	return true
}

// admission returns the decision of decide, but admits a newcomer only if claim returns
// true too. Otherwise the newcomer has to wait.
func (g *gate) admission(t *Ticket, kept bool) (decision, Reason) {
	a, r := g.decide(t, kept)
	switch {
	case a != admit || g.loan == nil || t.preflight() || g.claim(g.cost(t)):
		return a, r
	case g.shares != nil:
		return g.decideToWait(t, g.shares.newcomer(g, t, kept))
	case g.queue.all() >= g.queueLimit && !t.returns():
		return rejectNow, QueueFull
	}
	return queueUp, 0
}

func (g *gate) ask(l *loan, n int) {
	if l.wants == 0 {
		g.asking = append(g.asking, l)
	}
	l.wants = n
	if n > 1 {
		g.share() // else newcomers overtake
	}
}

// grant lends permits to the elder pools that ask for some, before any waiter is served.
func (g *gate) grant(out *verdicts) {
	for len(g.asking) > 0 {
		l := g.asking[0]
		n := min(l.wants, g.concurrency)
		if g.running+n > g.concurrency || !g.claim(n) {
			return
		}
		g.asking = slices.Delete(g.asking, 0, 1)
		l.wants = 0
		g.running += n
		g.lent += n
		out.send(transfer{loan: l, granted: n})
	}
}

// repay gives unused permits back to the successor.
func (g *gate) repay(out *verdicts) {
	if l := g.loan; l.kept > g.running {
		out.send(transfer{loan: l, back: l.kept - g.running})
		l.kept = g.running
	}
}

// ownLimit is the limit less the permits that elder pools have borrowed, zero for no limit.
func (g *gate) ownLimit() int {
	limit := g.givenOut()
	if limit == unlimited {
		return 0
	}
	return max(limit-g.lent, 0)
}
