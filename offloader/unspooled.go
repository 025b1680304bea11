package offloader

import "errors"

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

// ErrNotNow is what AcquireNow returns if there is no permit at once.
var ErrNotNow = errors.New("no permit is free at once")

// AcquireNow is AcquireAt for a caller that has a use for the time until it would get a
// permit: it returns ErrNotNow, and counts nothing, where AcquireAt would wait or refuse.
// The caller is expected to come again with AcquireAt.
func (p *Pool) AcquireNow(place *Place) (Permit, error) {
	if p.breakerRefuses() {
		return Permit{}, ErrNotNow
	}
	n := newcomer{place: place}
	p.recognize(&n)
	s := p.gate.enterNow(&n)
	if s == nil {
		return Permit{}, ErrNotNow
	}
	return p.begin(s, p.now())
}

// enterNow takes a slot for a newcomer if it may have one at once, else it returns nil.
func (g *gate) enterNow(n *newcomer) *slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a, _ := g.admission(n.place, g.arrives(&n.client, n.came)); a == admit {
		return g.letIn(n, n.came)
	}
	g.turns.count(&n.client, -1) // it will come again
	return nil
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
