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

// Configured returns the settings that Configure has set, without the override of
// operators.
func (p *Pool) Configured() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configured
}

// Configure changes the settings of a living pool. More permits are handed out at once;
// fewer take effect as runs end. Waiters stay in their order, even if the queue is
// shorter now. New breaker settings start without results, but an open breaker stays
// open, and a forced one stays forced.
//
// An override stays in force if the new settings are the same, apart from LongestRun. Other
// settings end it.
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

// Override changes the settings that override the configured ones: change gets the current
// Override and modifies it. It is for operators, while Configure is for configurations.
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

// Overridden returns the override.
func (p *Pool) Overridden() Override {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.override
}

// apply puts settings in force. It requires p.configuring.
func (p *Pool) apply(configured Settings, override Override) {
	s := override.on(configured)
	p.mu.Lock()
	p.configured, p.override, p.settings = configured, override, s
	p.mu.Unlock()
	p.setBreaker(s)
	p.lingers.limit(s.Linger)
	now := p.now()
	p.gate.countUpstreams(p.setOf(s))
	p.gate.configure(s, now).wake()
	p.alarm.set(p.gate.nextDue(), now)
}

// sameSettings reports whether two settings are equal apart from LongestRun, which depends
// on the pool's callers.
func sameSettings(a, b Settings) bool {
	a.LongestRun, b.LongestRun = 0, 0
	return reflect.DeepEqual(a, b)
}
