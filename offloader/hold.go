package offloader

import (
	"errors"
	"math/rand/v2"
	"time"
)

// A breaker with BreakerSettings.Hold does not reject callers while it is open: a short
// outage of the backend makes them wait. The gate gives out no permits then. When the
// cool-down is over, the first waiters are the probes. The time of the hold begins when a
// closed breaker trips, and goes on while probes fail. When it is over, the pool rejects
// its waiters and all newcomers, as without Hold.

// coolDownJitter is the part of a cool-down by which it may be shorter or longer, so that
// several proxies do not probe at once.
const coolDownJitter = 0.2

// errHeld is for a caller whose permit the breaker has rejected, and which waits again.
var errHeld = errors.New("the breaker holds the caller")

// returns reports whether the caller of a ticket, which may be nil, has had a permit and
// waits again.
func (t *Ticket) returns() bool { return t != nil && (t.Returning || t.held) }

// Holds reports whether the breaker lets callers wait while it is open, for some time:
// BreakerSettings.Hold. One that is forced open does not. It takes no lock.
func (p *Pool) Holds() bool {
	b := p.breaker.Load()
	if b == nil {
		return p.each.holds()
	}
	return b.settings.Hold > 0 && !b.forced
}

// opened holds the callers of a breaker that has opened, or rejects them.
func (p *Pool) opened(b *breaker) {
	now := p.now()
	if b != nil && b.holds() {
		p.gate.hold(now)
		p.holding.set(now+moment(b.restOfHold()), now)
		return
	}
	// Waiters would wait in vain, or stampede.
	p.gate.rejectAll(BreakerOpen, now).wake()
	p.gate.stopRamp(now).wake()
}

// probe lets the first waiters be the probes of a breaker that holds callers.
func (p *Pool) probe() {
	if b := p.breaker.Load(); b != nil && b.holds() {
		p.gate.probe(b.settings.Probes, p.now()).wake()
	}
}

// endHold ends the hold of a breaker that has not closed in time.
func (p *Pool) endHold() {
	b := p.breaker.Load()
	if b == nil {
		p.upstreamsOut()
		return
	}
	if b.forced || b.State() == StateClosed {
		return
	}
	if now := p.now(); b.holds() { // since it has closed and tripped again
		p.holding.set(now+moment(b.restOfHold()), now)
		return
	}
	p.opened(b)
}

// holds reports whether callers wait until the breaker has closed.
func (b *breaker) holds() bool {
	return b.settings.Hold > 0 && !b.forced && b.State() != StateClosed && b.restOfHold() > 0
}

// holdEndsIn is how long the pool still lets callers wait for its breaker, zero if it does
// not.
func (p *Pool) holdEndsIn() time.Duration {
	b := p.breaker.Load()
	if b == nil || !b.holds() {
		return 0
	}
	return max(0, b.restOfHold())
}

// restOfHold is the time for which callers may still be held.
func (b *breaker) restOfHold() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings.Hold - time.Since(b.tripped)
}

// nextCoolDown is the cool-down that begins now. It requires b.mu.
func (b *breaker) nextCoolDown() time.Duration {
	d := b.settings.CoolDown
	if b.settings.Hold > 0 {
		d = min(FirstCoolDown<<min(b.openings, 20), d)
		d = min(time.Duration(float64(d)*(1+coolDownJitter*(2*rand.Float64()-1))), b.settings.CoolDown)
	}
	return max(d, time.Duration(moment(b.notBefore.Load())-b.clock.now()))
}

// askedFor notes that the backend has asked for a pause of that length.
func (b *breaker) askedFor(d time.Duration, now moment) {
	b.notBefore.Store(int64(now) + int64(min(d, MaxRetryAfter)))
}

// hold stops the gate.
func (g *gate) hold(now moment) {
	g.mu.Lock()
	defer g.unlock()
	g.holding, g.warmUp.probing = true, false
}

// probe gives so many waiters permits.
func (g *gate) probe(n int, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	g.beginRamp(min(n, g.concurrency), now)
	g.warmUp = warmUp{since: now, probing: true}
	var out verdicts
	g.handOver(now, &out)
	return out
}

// takeBack takes the permit of a caller back that waits again. The caller, whose ticket may be
// nil, is announced until then: a drain does not end in between.
func (g *gate) takeBack(s *slot, t *Ticket, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	if t != nil && !t.announced {
		t.announced = true
		g.announced++
	}
	var out verdicts
	s.unused = true
	g.giveBack(s, now, &out)
	return out
}

// The methods below require g.mu.

// stopped reports whether the gate gives out no permits for now.
func (g *gate) stopped() bool { return g.holding || g.paused() }

// holdsBack reports whether waiters are held while the breaker is not closed.
func (g *gate) holdsBack() bool { return g.holding || g.warmUp.probing }
