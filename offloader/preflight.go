package offloader

// A preflight, a caller with Ticket.Preflight, takes no permit, so a full pool does not
// delay it. At most as many preflights run at once as there are permits, so a flood of them
// costs the backend no more than the pool's other runs. Further ones wait for a preflight
// to end, in front of all other waiters.

// preflight reports whether the caller of a ticket, which may be nil, is a preflight.
func (t *Ticket) preflight() bool { return t != nil && t.Preflight }

// The methods below require g.mu.

// preflightFree reports whether one more preflight may run.
func (g *gate) preflightFree() bool { return g.preflights < g.limit && !g.stopped() }

// decidePreflight is decide for a preflight.
func (g *gate) decidePreflight() (decision, Reason) {
	switch {
	case g.preflightFree() && g.queue.preflights.Len() == 0:
		return admit, 0
	case g.queue.all() >= g.queueLimit && !g.displaces(false):
		return rejectNow, QueueFull
	}
	return queueUp, 0
}

// takePreflight begins the run of a preflight. The predictions and the warm-up ignore it.
func (g *gate) takePreflight() *slot {
	g.preflights++
	s := g.unused()
	s.preflight, s.last, s.untimed, s.recovery = true, false, true, retired
	return s
}

// joinPreflight queues a preflight.
func (g *gate) joinPreflight(w *waiter, now moment) {
	w.breaksCalm = false
	if t := w.ticket; t.record != nil {
		g.note(t.record, now)
		t.record.Joined, t.record.Ahead = true, g.queue.preflights.Len()
		t.record.Before = t.record.Ahead
	}
	g.enqueue(w)
}

// servePreflights lets waiting preflights run.
func (g *gate) servePreflights(now moment, out *verdicts) {
	for g.queue.preflights.Len() > 0 && g.preflightFree() {
		w := g.queue.preflights.front()
		if w.deadline != 0 && w.deadline <= now {
			g.reject(w, WaitTimeout, now, out)
			continue
		}
		g.queue.remove(w)
		w.slot = g.takePreflight()
		w.slot.started = now
		out.add(w)
	}
}
