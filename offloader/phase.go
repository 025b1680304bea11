package offloader

// Phase of a pool's life. The last change counts; only PhaseClosed is final.
//
//	          newcomers               announced calls     waiters             runs
//	open      are admitted or wait    are admitted        get permits         go on
//	paused    wait                    wait                wait                go on
//	draining  are rejected: draining  are admitted        get permits         go on
//	closed    are rejected: closed    are rejected too    are rejected too    go on
//
// A patient caller that waits is rejected when the pool begins to drain.
type Phase uint8

const (
	// PhaseOpen is the phase of a new pool, and of one after Resume.
	PhaseOpen Phase = iota
	// PhasePaused is the phase after Pause.
	PhasePaused
	// PhaseDraining is the phase after Drain.
	PhaseDraining
	// PhaseClosed is the phase after Close.
	PhaseClosed

	phaseCount
)

var phaseNames = [phaseCount]string{"open", "paused", "draining", "closed"}

// String returns the name of the phase: open, paused, draining or closed.
func (p Phase) String() string { return phaseNames[p] }

// Phases lists all phases, in a fixed order.
func Phases() []Phase { return []Phase{PhaseOpen, PhasePaused, PhaseDraining, PhaseClosed} }

// setPhase changes the phase, unless the gate is closed. At the end of a pause waiters get
// the free permits. If p is PhaseClosed, the caller of setPhase has to reject the waiters.
func (g *gate) setPhase(p Phase, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if Phase(g.phase.Load()) == PhaseClosed {
		return out
	}
	g.phase.Store(uint32(p))
	if p == PhaseDraining {
		g.rejectLine(&g.queue.patient, Draining, now, &out)
	}
	if p != PhaseClosed {
		g.handOver(now, &out)
	}
	return out
}

// shut is the reason to reject every newcomer, or zero.
func (g *gate) shut() Reason {
	switch Phase(g.phase.Load()) {
	case PhaseDraining:
		return Draining
	case PhaseClosed:
		return Closed
	}
	return 0
}

// paused reports whether the gate gives out no permits for now.
func (g *gate) paused() bool { return Phase(g.phase.Load()) == PhasePaused }

// whenIdle returns a channel that is closed when nothing is in flight.
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

func (g *gate) inFlight() int {
	return g.running - g.lent - g.lingering + g.preflights + g.queue.all() + g.queue.patient.Len() + g.announced
}

func (g *gate) wakeIfIdle() {
	if g.idle != nil && g.inFlight() == 0 {
		close(g.idle)
		g.idle = nil
	}
}
