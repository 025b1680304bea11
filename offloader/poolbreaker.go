package offloader

// setBreaker puts the breaker of new settings in place. It requires p.configuring.
func (p *Pool) setBreaker(s Settings) {
	old := p.breaker.Load()
	if s.Breaker == nil {
		if old != nil {
			p.breaker.Store(nil)
			old.close()
			p.gate.stopRamp(p.now()).tell()
		}
		return
	}
	want := s.Breaker.withDefaults(s.LongestRun)
	if old != nil && old.settings == want {
		return
	}
	b := newBreaker(p.name, want, p.breakerChanged)
	if old != nil {
		old.close() // first: from then on its state stays
		if old.State() != BreakerClosed {
			b.startTripped()
		}
	}
	p.breaker.Store(b)
}

// breakerChanged is called by the breaker, outside of all locks.
func (p *Pool) breakerChanged(t transition) {
	p.changed[t.to].Add(1)
	switch t.to {
	case BreakerTripped:
		// Waiters would only wait and then be refused, or stampede.
		p.gate.refuseAll(BreakerOpen).tell()
		p.gate.stopRamp(p.now()).tell()
	case BreakerClosed:
		p.gate.startRamp()
	}
	if p.onTrips != nil {
		p.onTrips(t.from, t.to)
	}
}

// breakerReason is the reason of a rejection by the breaker: a pool that does
// not admit anyway says so.
func (p *Pool) breakerReason() Reason {
	if r := p.gate.shut(); r != 0 {
		return r
	}
	return BreakerOpen
}
