package offloader

import "slices"

// phase of a pool's life. The last change counts; only phaseClosed is final.
type phase uint8

const (
	phaseOpen phase = iota
	phasePaused
	phaseDraining
	phaseClosed

	phaseCount
)

var phaseNames = [phaseCount]string{"open", "paused", "draining", "closed"}

// String returns the phase's word.
func (p phase) String() string { return phaseNames[p] }

// Phases lists the phases of a pool's life, as [Snapshot] names them.
func Phases() []string { return slices.Clone(phaseNames[:]) }

// setPhase changes what newcomers are told. The waiters of a pause that ends get
// what is free, unless the gate is closed: then they are refused. Nothing comes
// after that.
func (g *gate) setPhase(p phase, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if phase(g.phase.Load()) == phaseClosed {
		return out
	}
	g.phase.Store(uint32(p))
	if p != phaseClosed {
		g.handOver(now, &out)
	}
	return out
}

// shut is why nobody is admitted whatever else is the case, or zero.
func (g *gate) shut() Reason {
	switch phase(g.phase.Load()) {
	case phaseDraining:
		return Draining
	case phaseClosed:
		return Closed
	}
	return 0
}

// paused reports whether no slot is given out for now.
func (g *gate) paused() bool { return phase(g.phase.Load()) == phasePaused }

// whenIdle returns a channel that is closed once nothing is in flight.
func (g *gate) whenIdle() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.wakeIfIdle()
	return idle
}

// The methods below require g.mu.

func (g *gate) inFlight() int { return g.running - g.lent - g.lingering + g.queue.len + g.announced }

func (g *gate) wakeIfIdle() {
	if g.idle != nil && g.inFlight() == 0 {
		close(g.idle)
		g.idle = nil
	}
}
