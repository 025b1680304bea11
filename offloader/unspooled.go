package offloader

// Callers whose request body is not spooled decide by themselves how long they hold a
// permit: as long as their body takes. So they share at most half of the permits, one at
// least, and the rest is for callers that cannot do so.

// BodyEnded says that the run has the whole request body of a caller with
// Place.Unspooled. From then on the run is one like any other. It does nothing for other
// runs, and may be called more than once.
func (p Permit) BodyEnded() {
	if p.pool != nil {
		p.pool.gate.bodyEnded(p.slot, p.generation)
	}
}

func (g *gate) bodyEnded(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.generation() == generation {
		g.endUnspooled(s)
	}
}

// The methods below require g.mu.

// unspooledFull reports whether a caller at pl would get more permits for bodies that are
// not spooled than there may be.
func (g *gate) unspooledFull(pl *Place) bool {
	return pl != nil && pl.Unspooled && g.unspooled >= max(g.concurrency/2, 1)
}

// beginUnspooled counts a slot that a caller at pl has got.
func (g *gate) beginUnspooled(s *slot, pl *Place) {
	if pl != nil && pl.Unspooled {
		s.unspooled = true
		g.unspooled++
	}
}

func (g *gate) endUnspooled(s *slot) {
	if s.unspooled {
		s.unspooled = false
		g.unspooled--
	}
}
