package offloader

// A full gate rejects newcomers without its mutex.

// unlock unlocks the gate after a change, and publishes whether it is full now.
func (g *gate) unlock() {
	if full := g.isFull(); full != g.full.Load() {
		g.full.Store(full)
	}
	g.mu.Unlock()
}

// isFull reports whether decide rejects every newcomer with the reason QueueFull, capped
// callers and preflights aside. It is false while the gate keeps turns or has shares, since
// the decision then depends on the newcomer. It requires g.mu.
func (g *gate) isFull() bool {
	if g.queue.all() < g.queueLimit || g.turns.len > 0 || g.shares != nil {
		return false
	}
	_, r := g.decide(nil, false)
	return r == QueueFull
}

// refuses reports, without the mutex, whether the gate is full for a newcomer. It is false
// if only decide can say so.
func (g *gate) refuses(n *newcomer) bool {
	return g.full.Load() && (n.ticket == nil || (n.ticket.CappedBy == 0 && !n.ticket.apart() && !n.ticket.returns()))
}
