package offloader

// Announce enters a caller that still prepares, such as one that reads its input. A
// caller that would be rejected now is rejected now, before it does that work. From
// then on the call belongs to the pool: it is counted as announced, Drain and Close
// wait for it, and Acquire admits it although the pool drains by then. It is not in the
// queue and holds no permit.
//
// Acquire ends the announcement, whatever it returns; so does Withdraw.
func (t *Ticket) Announce() error {
	p := t.Pool
	if p.breakerRejects() {
		return p.reject(p.breakerReason())
	}
	n := newcomer{ticket: t}
	p.recognize(&n)
	if r := p.gate.announce(&n); r != 0 {
		return p.reject(r)
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
	g.mu.Lock()
	defer g.mu.Unlock()
	t, r := n.ticket, g.rejection(n)
	if r == 0 && !t.announced {
		t.announced = true
		g.announced++
	}
	return r
}

func (g *gate) withdraw(t *Ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.arrived(t)
	g.wakeIfIdle()
}

// The methods below require g.mu.

// arrived ends an announcement. If the caller is admitted or joins the queue, that
// comes first under the same lock: a drain must not end in between.
func (g *gate) arrived(t *Ticket) {
	if t != nil && t.announced {
		t.announced = false
		g.announced--
	}
}

// shutFor is shut for one caller: a drain does not reject a call that came before.
func (g *gate) shutFor(t *Ticket) Reason {
	r := g.shut()
	if r == Draining && t != nil && (t.announced || t.PassDrain) {
		return 0
	}
	return r
}
