package offloader

import "context"

// Phases of a pool:
//
//	          newcomers              uploads end and    waiters           runs
//	open      are admitted or wait   are admitted       get permits       go on
//	paused    wait                   wait               wait              go on
//	draining  are refused: draining  are admitted       get permits       go on
//	closed    are refused: closed    are refused too    are refused too   go on
//
// Pause, Drain and Resume may be called in any phase and in any order; the last
// call counts. Nothing comes after closed.

// Pause stops handing out permits. Who comes takes a place in the queue as long
// as there is room, and waits; the longest wait goes on counting. Runs go on.
// It ends with Resume, and a Drain lets the waiters finish. To pause a pool
// that drains ends the drain's refusals: newcomers wait then.
func (p *Pool) Pause() { p.enterPhase(phasePaused) }

// Drain refuses newcomers, with the reason Draining, and waits until all that was
// let in, uploading, waiting or running, has ended, or until ctx has. It may be
// called again to wait longer.
func (p *Pool) Drain(ctx context.Context) error {
	p.enterPhase(phaseDraining)
	return p.idle(ctx)
}

// Resume ends a pause or a drain: the pool admits again. A closed pool stays
// closed.
func (p *Pool) Resume() { p.enterPhase(phaseOpen) }

// Wait waits until nothing is in flight, or until ctx has ended. It changes nothing:
// newcomers are admitted meanwhile.
func (p *Pool) Wait(ctx context.Context) error { return p.idle(ctx) }

// Close ends the pool: newcomers and waiters are refused with the reason Closed,
// and uploads when they are over. It waits until these and all runs have ended, or
// until ctx has; a run that ends later still releases its permit safely. It may be
// called again.
func (p *Pool) Close(ctx context.Context) error {
	p.enterPhase(phaseClosed)
	p.gate.rejectAll(Closed).wake()
	p.alarm.close()
	p.warming.close()
	p.lingers.close()
	if b := p.breaker.Load(); b != nil {
		b.close()
	}
	return p.idle(ctx)
}

func (p *Pool) enterPhase(to phase) { p.gate.setPhase(to, p.now()).wake() }

// idle waits for the pools that this one has succeeded first.
func (p *Pool) idle(ctx context.Context) error {
	for _, elder := range p.predecessors() {
		if err := elder.idle(ctx); err != nil {
			return err
		}
	}
	idle := p.gate.whenIdle()
	select {
	case <-idle:
		return nil
	default: // an idle pool needs no time, so it does not matter if there is none
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
