package offloader

// The methods below require g.mu.

// handOver gives free permits to waiters, unless the gate is paused. It first rejects
// waiters that cannot be served in time, so that they get no permit.
func (g *gate) handOver(now moment, out *verdicts) {
	g.servePreflights(now, out)
	if !g.queue.wanted() && len(g.asking) == 0 && g.loan == nil {
		g.wakeIfIdle()
		return
	}
	if len(g.asking) > 0 {
		g.grant(out)
	}
	if g.vacant() {
		g.rejectLate(now, out)
	}
	if g.shares != nil {
		g.handOutShared(now, out)
	}
	for g.shares == nil && g.vacant() && g.queue.len > 0 && !g.stopped() {
		w := g.pick(now)
		if w.deadline != 0 && w.deadline <= now {
			g.reject(w, WaitTimeout, now, out)
			continue
		}
		if g.capReached(w.ticket, 1) {
			g.reject(w, w.ticket.CappedBy, now, out)
			continue
		}
		if g.loan != nil && !g.claim(1) {
			break
		}
		g.queue.remove(w)
		w.slot = g.take(1)
		w.slot.started = now
		g.beginCapped(w.slot, w.ticket)
		out.add(w)
	}
	if g.loan != nil {
		g.repay(out)
	}
	g.wakeIfIdle()
}

// makeRoom hands out permits after a change of the queue of a gate with shares. Permits may
// be free although callers wait: kept for a waiter that has left, or not allowed to the
// keys of the other waiters.
func (g *gate) makeRoom(now moment, out *verdicts) {
	if g.shares != nil {
		g.handOver(now, out)
	}
}
