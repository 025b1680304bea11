package offloader

import "context"

// Pause stops handing out permits. Newcomers wait while the queue has room, up to the
// longest wait. Runs go on. Resume ends the pause; Drain ends it too, and serves the
// waiters. If a draining pool is paused, newcomers wait again.
func (p *Pool) Pause() { p.enterPhase(PhasePaused) }

// Drain rejects newcomers with the reason Draining, and blocks until all calls that came
// before, announced, waiting or running, have ended, or until ctx has. It may be called
// again to wait longer.
func (p *Pool) Drain(ctx context.Context) error {
	p.enterPhase(PhaseDraining)
	return p.idle(ctx)
}

// Resume ends a pause or a drain: the pool admits again. A closed pool stays closed.
func (p *Pool) Resume() { p.enterPhase(PhaseOpen) }

// Wait blocks until nothing is in flight, or until ctx has ended. It changes nothing:
// newcomers are admitted meanwhile.
func (p *Pool) Wait(ctx context.Context) error { return p.idle(ctx) }

// Close ends the pool. It rejects newcomers and waiters with the reason Closed, and
// announced calls when they call Acquire. It blocks until these and all runs have ended,
// or until ctx has; a run that ends later still releases its permit safely. It may be
// called again.
func (p *Pool) Close(ctx context.Context) error {
	p.enterPhase(PhaseClosed)
	p.gate.rejectAll(Closed, p.now()).wake()
	p.alarm.close()
	p.warming.close()
	p.holding.close()
	p.lingers.close()
	if b := p.breaker.Load(); b != nil {
		b.close()
	}
	p.each.close()
	return p.idle(ctx)
}

func (p *Pool) enterPhase(to Phase) { p.gate.setPhase(to, p.now()).wake() }

// idle waits for the predecessors first.
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
	default: // an idle pool needs no time, and ctx may have ended
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
