package offloader

import "fmt"

// BreakerControl says who rules a pool's breaker.
type BreakerControl uint8

const (
	// BreakerAuto: the breaker follows its rules.
	BreakerAuto BreakerControl = iota
	// BreakerForcedOpen: everything is refused, until somebody says otherwise.
	BreakerForcedOpen
	// BreakerForcedClosed: everything passes, and nothing trips.
	BreakerForcedClosed
)

var breakerControlNames = [...]string{"auto", "open", "closed"}

// ParseBreakerControl reads a control by its word.
func ParseBreakerControl(word string) (BreakerControl, error) {
	for c, name := range breakerControlNames {
		if word == name {
			return BreakerControl(c), nil
		}
	}
	return BreakerAuto, fmt.Errorf("unknown state '%s' of a breaker: want 'open', 'closed' or 'auto'", word)
}

// String returns the control's word: auto, open or closed.
func (c BreakerControl) String() string { return breakerControlNames[c] }

// ForceBreaker takes the breaker out of the hands of its rules, or gives it back
// to them. It works for a pool without a breaker too, survives Configure, and does
// nothing if it is so already.
//
// Forced open, the pool refuses waiters and newcomers as when the breaker trips,
// but no cool-down ends it. Forced closed, it admits at once as many as its
// concurrency allows, and counts nothing. Back with its rules, the breaker is
// closed and begins with no results; coming from open, the pool warms up as after
// every closing.
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
		old.close() // first: from then on its state stays
	}
	from, _ := p.breakerState()
	p.mu.Lock()
	p.control = c
	p.breaker.Store(p.forcedBreaker(c, p.settings))
	p.mu.Unlock()
	to, _ := p.breakerState()
	p.transitions.add(transition{from: from, to: to, unbounded: c == BreakerForcedClosed})
}

// forcedBreaker makes the breaker for a control, nil where nothing is counted.
func (p *Pool) forcedBreaker(c BreakerControl, s Settings) *breaker {
	switch {
	case c == BreakerForcedClosed:
		return nil
	case c == BreakerForcedOpen:
		return newForcedOpen(s.Breaker)
	case s.Breaker == nil:
		return nil
	}
	return p.newBreaker(s)
}

// newForcedOpen returns a breaker that refuses everything. Its cool-down is what
// callers are advised to wait; settings may be nil.
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

// breakerState returns the state as others see it, and whether it is forced.
func (p *Pool) breakerState() (s BreakerState, forced bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch b := p.breaker.Load(); {
	case p.control == BreakerForcedClosed:
		return StateClosed, true
	case b != nil:
		return b.State(), p.control != BreakerAuto
	}
	return StateOff, false
}
