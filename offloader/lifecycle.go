package offloader

import "context"

// Drain stops admission, with the reason Draining, and waits until all that
// was admitted, waiting or running, has ended, or until ctx has. It may be
// called again to wait longer.
func (p *Pool) Drain(ctx context.Context) error {
	p.gate.setPhase(phaseDraining)
	return p.idle(ctx)
}

// Resume ends a drain: the pool admits again. A closed pool stays closed.
func (p *Pool) Resume() { p.gate.setPhase(phaseOpen) }

// Close ends the pool: newcomers and waiters are refused with the reason
// Closed. It waits until all runs have ended, or until ctx has; a run that
// ends later still releases its permit safely. It may be called again.
func (p *Pool) Close(ctx context.Context) error {
	p.gate.setPhase(phaseClosed)
	p.gate.refuseAll(Closed).tell()
	p.alarm.close()
	p.lingers.close(p.endLinger)
	if b := p.breaker.Load(); b != nil {
		b.close()
	}
	return p.idle(ctx)
}

func (p *Pool) idle(ctx context.Context) error {
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
