package offloader

// Announce registers a caller that prepares its run, for example reads its input. It
// rejects the caller if Acquire would reject it now, which saves that work. An announced
// call belongs to the pool: snapshots count it, Drain and Close wait for it, and Acquire
// admits it even if the pool drains by then. It is not in the queue and holds no permit.
//
// Acquire ends the announcement, whatever it returns; so does Withdraw.
func (t *Ticket) Announce() error {
	p := t.Pool
	if p.breakerRejects() {
		return p.rejectNewcomer(t, p.breakerReason())
	}
	n := newcomer{ticket: t}
	p.recognize(&n)
	if r := p.gate.announce(&n); r != 0 {
		return p.rejectNewcomer(t, r)
	}
	return nil
}

// Withdraw ends the announcement of a caller that will not call Acquire. It does
// nothing if the caller is not announced. Only the caller may call it.
func (t *Ticket) Withdraw() {
	if t.announced {
		t.Pool.gate.withdraw(t)
	}
}

func (g *gate) announce(n *newcomer) Reason {
	if g.refuses(n) {
		return QueueFull
	}
	g.mu.Lock()
	defer g.unlock()
	if n.ticket.shares() {
		g.share()
	}
	t, r := n.ticket, g.rejection(n)
	if r == 0 && !t.announced {
		t.announced = true
		g.announced++
	}
	return r
}

func (g *gate) withdraw(t *Ticket) {
	g.mu.Lock()
	defer g.unlock()
	g.arrived(t)
	g.wakeIfIdle()
}

// The methods below require g.mu.

// arrived ends the announcement of a caller that has just got a permit or a place in the
// queue. Both happen under one lock, so that a drain does not end in between.
func (g *gate) arrived(t *Ticket) {
	if t != nil && t.announced {
		t.announced = false
		g.announced--
	}
}

// shutFor returns the reason to reject one caller because of the pool's phase, or zero. A
// drain does not reject an announced caller, or one with Ticket.PassDrain.
func (g *gate) shutFor(t *Ticket) Reason {
	r := g.shut()
	if r == Draining && t != nil && (t.announced || t.PassDrain || t.Returning) {
		return 0
	}
	return r
}
