package offloader

import "fmt"

// BreakerControl says what controls a pool's breaker: its rules, or an operator.
type BreakerControl uint8

const (
	// BreakerAuto: the breaker follows its rules.
	BreakerAuto BreakerControl = iota
	// BreakerForcedOpen: all calls are rejected until the control changes.
	BreakerForcedOpen
	// BreakerForcedClosed: all calls pass, and no result trips the breaker.
	BreakerForcedClosed
)

var breakerControlNames = [...]string{"auto", "open", "closed"}

// ParseBreakerControl parses the name of a control: auto, open or closed.
func ParseBreakerControl(name string) (BreakerControl, error) {
	for c, known := range breakerControlNames {
		if name == known {
			return BreakerControl(c), nil
		}
	}
	return BreakerAuto, fmt.Errorf("unknown state '%s' of a breaker: want 'open', 'closed' or 'auto'", name)
}

// String returns the name of the control: auto, open or closed.
func (c BreakerControl) String() string { return breakerControlNames[c] }

// ForceBreaker holds the breaker open or closed for an operator, or lets it follow its
// rules again. It works for a pool without a breaker too, survives Configure, and does
// nothing if the control is the same.
//
// Forced open, the pool rejects waiters and newcomers as when the breaker trips, but no
// cool-down ends it. Forced closed, it admits as many as its concurrency allows, and counts
// no results. With BreakerAuto again, the breaker is closed and has no results; if it was
// open before, the pool warms up as after every closing.
func (p *Pool) ForceBreaker(c BreakerControl) {
	p.force(c)
	p.transitions.notify()
}

func (p *Pool) force(c BreakerControl) {
	p.configuring.Lock()
	defer p.configuring.Unlock()
	if p.breakerControl() == c {
		return
	}
	if old := p.breaker.Load(); old != nil {
		old.close() // first, so that its state stays
	}
	from, _ := p.breakerState()
	p.mu.Lock()
	p.control = c
	p.breaker.Store(p.forcedBreaker(c, p.settings))
	p.mu.Unlock()
	p.each.overrule(c)
	to, _ := p.breakerState()
	p.transitions.add(transition{from: from, to: to, unbounded: c == BreakerForcedClosed})
}

// forcedBreaker returns the breaker for a control, nil if no results are counted.
func (p *Pool) forcedBreaker(c BreakerControl, s Settings) *breaker {
	switch {
	case c == BreakerForcedClosed:
		return nil
	case c == BreakerForcedOpen:
		return newForcedOpen(s.Breaker)
	case s.Breaker == nil, s.Breaker.PerUpstream:
		return nil
	}
	return p.newBreaker(s)
}

// newForcedOpen returns a breaker that rejects everything. Callers are advised to wait
// for its cool-down; settings may be nil.
func newForcedOpen(s *BreakerSettings) *breaker {
	b := &breaker{settings: DefaultBreakerSettings(), forced: true}
	if s != nil {
		b.settings = *s
	}
	b.state.Store(uint32(StateOpen))
	return b
}

func (p *Pool) breakerControl() BreakerControl {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.control
}

// breakerState returns the state as shown to users, and whether it is forced.
func (p *Pool) breakerState() (s BreakerState, forced bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch b := p.breaker.Load(); {
	case p.control == BreakerForcedClosed:
		return StateClosed, true
	case b != nil:
		return b.State(), p.control != BreakerAuto
	case p.settings.Breaker != nil && p.settings.Breaker.PerUpstream:
		return p.each.state(), false
	}
	return StateOff, false
}
