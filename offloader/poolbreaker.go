package offloader

import "time"

// setBreaker installs the breaker of new settings. It requires p.configuring.
func (p *Pool) setBreaker(s Settings) {
	p.each.configure(p, s)
	old := p.breaker.Load()
	switch control := p.breakerControl(); {
	case control != BreakerAuto:
		p.breaker.Store(p.forcedBreaker(control, s))
		return
	case s.Breaker == nil || s.Breaker.PerUpstream:
		if old != nil {
			p.breaker.Store(nil)
			old.close()
			p.gate.stopRamp(p.now()).wake()
		}
		return
	}
	if old != nil && old.settings == s.Breaker.WithDefaults(s.LongestRun) {
		old.row.limit(s.Concurrency, old.settings)
		return
	}
	b := p.newBreaker(s)
	if old != nil {
		old.close() // first, so that its state stays
		if old.State() != StateClosed {
			b.startTripped()
		}
	}
	p.breaker.Store(b)
	if b.State() != StateClosed {
		p.opened(b)
	}
}

// newBreaker returns a breaker that follows the rules of settings.
func (p *Pool) newBreaker(s Settings) *breaker {
	b := newBreaker(p.name, s.Breaker.WithDefaults(s.LongestRun), &p.transitions, p.clock)
	b.row.limit(s.Concurrency, b.settings)
	return b
}

// breakerChanged handles a change of the breaker, without locks.
func (p *Pool) breakerChanged(t transition) {
	if t.from != t.to {
		p.changed[t.to].Add(1)
	}
	switch {
	case t.to == StateOpen:
		p.opened(p.breaker.Load())
	case t.to == StateHalfOpen:
		p.probe()
	case t.unbounded:
		p.gate.stopRamp(p.now()).wake()
	case t.to == StateClosed && t.from != StateClosed:
		p.startRamp()
	}
	if p.observeBreaker != nil && t.from != t.to {
		p.observeBreaker(t.from, t.to)
	}
}

// startRamp begins the warm-up. Each of its limits lasts one cool-down at most, the time in
// which the backend is expected to recover.
func (p *Pool) startRamp() {
	atMost := DefaultCoolDown
	if s := p.Settings().Breaker; s != nil {
		atMost = s.CoolDown
	}
	now := p.now()
	out, due := p.gate.startRamp(atMost, now)
	out.wake()
	p.warming.set(due, now)
}

func (p *Pool) warm() {
	now := p.now()
	out, due := p.gate.warm(now)
	out.wake()
	p.warming.set(due, now)
}

func (p *Pool) breakerRejects() bool {
	b := p.breaker.Load()
	if b == nil {
		return p.each.reject()
	}
	return b.State() != StateClosed && !b.holds() && b.rejects(&p.gate)
}

// breakerReason is the reason of a rejection by the breaker. Draining and closed pools have
// their own reasons.
func (p *Pool) breakerReason() Reason {
	if r := p.gate.shut(); r != 0 {
		return r
	}
	return BreakerOpen
}

// probesIn is the time until an open breaker admits a probe. It is zero if the breaker is
// not open, or is forced.
func (p *Pool) probesIn() time.Duration {
	b := p.breaker.Load()
	if b == nil || b.forced || b.State() != StateOpen {
		return 0
	}
	return max(0, b.restOfCoolDown())
}
