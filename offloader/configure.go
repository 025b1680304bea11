package offloader

import (
	"fmt"
	"reflect"
)

// Settings returns the settings in force.
func (p *Pool) Settings() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Configured returns the settings that Configure has set: those in force, but for
// what is overridden.
func (p *Pool) Configured() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configured
}

// Configure changes the settings of a living pool. More permits are handed out
// at once; fewer take effect as runs end. Waiters keep their order, and their
// places even if the queue is shorter now. New breaker settings begin with no
// results, but a breaker that is open stays so, and one that is forced stays
// forced.
//
// What was overridden stays so while the pool is configured as before, whatever
// LongestRun is. Other settings end it.
func (p *Pool) Configure(s Settings) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("pool '%s': %w", p.name, err)
	}
	p.configuring.Lock()
	defer p.configuring.Unlock()
	p.mu.Lock()
	override := p.override
	if !sameSettings(p.configured, s) {
		override = Override{}
	}
	p.mu.Unlock()
	p.apply(s, override)
	return nil
}

// Override changes what is overridden: change gets it as it is. It is for people
// who act on a living pool; Configure is for its configuration.
func (p *Pool) Override(change func(*Override)) error {
	p.configuring.Lock()
	defer p.configuring.Unlock()
	configured, override := p.Configured(), p.Overridden()
	change(&override)
	if err := override.on(configured).Validate(); err != nil {
		return fmt.Errorf("pool '%s': %w", p.name, err)
	}
	p.apply(configured, override)
	return nil
}

// Overridden returns what is overridden.
func (p *Pool) Overridden() Override {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.override
}

// apply makes settings count. It requires p.configuring.
func (p *Pool) apply(configured Settings, override Override) {
	s := override.on(configured)
	p.mu.Lock()
	p.configured, p.override, p.settings = configured, override, s
	p.mu.Unlock()
	p.setBreaker(s)
	p.lingers.limit(s.Linger)
	now := p.now()
	p.gate.configure(s, now).wake()
	p.alarm.set(p.gate.nextDue(), now)
}

// sameSettings reports whether two configurations say the same of the pool itself.
// LongestRun is said by its callers.
func sameSettings(a, b Settings) bool {
	a.LongestRun, b.LongestRun = 0, 0
	return reflect.DeepEqual(a, b)
}
