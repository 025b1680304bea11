package offloader

// A caller that sends its input while it runs can hold its permit as long as it likes. Such
// callers, the capped ones, together hold at most half of the permits, but at least one.
// The rest stays for other callers.

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
	defer g.unlock()
	if s.generation() == generation {
		g.uncap(s)
	}
}

// The methods below require g.mu.

// capReached reports whether the caller of t is capped and the capped runs would exceed
// cappedLimit with that many permits more. A single capped run may take any number.
func (g *gate) capReached(t *Ticket, permits int) bool {
	return t != nil && t.CappedBy != 0 && g.capped > 0 && g.capped+permits > g.cappedLimit()
}

// cappedLimit is the number of permits that capped runs share.
func (g *gate) cappedLimit() int { return max(g.concurrency/2, 1) }

// beginCapped counts the permits of a capped caller, which shares half of all permits with
// others of its kind.
func (g *gate) beginCapped(s *slot, t *Ticket) {
	if t != nil && t.CappedBy != 0 {
		s.capped = true
		g.capped += s.permits()
	}
}

func (g *gate) uncap(s *slot) {
	if s.capped {
		s.capped = false
		g.capped -= s.permits()
	}
}
