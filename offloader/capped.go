package offloader

// Callers that send their input while they run decide how long they hold a permit. So
// they share at most half of the permits, and one at least; the other half is for
// callers that cannot do so.

// Uncap makes the run of a caller with Ticket.CappedBy an ordinary one, for example
// because it has all of its input now. It does nothing for other runs, and may be
// called more than once.
func (p Permit) Uncap() {
	if p.pool != nil {
		p.pool.gate.endCapped(p.slot, p.generation)
	}
}

func (g *gate) endCapped(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.generation() == generation {
		g.uncap(s)
	}
}

// The methods below require g.mu.

// capReached reports whether a caller is capped and the capped runs have their share.
func (g *gate) capReached(t *Ticket) bool {
	return t != nil && t.CappedBy != 0 && g.capped >= max(g.concurrency/2, 1)
}

// beginCapped counts the permit of a capped caller.
func (g *gate) beginCapped(s *slot, t *Ticket) {
	if t != nil && t.CappedBy != 0 {
		s.capped = true
		g.capped++
	}
}

func (g *gate) uncap(s *slot) {
	if s.capped {
		s.capped = false
		g.capped--
	}
}
