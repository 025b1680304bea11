package offloader

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/internal/upstream"
)

// upstreamBreakers are the breakers of a pool whose upstreams have one each:
// BreakerSettings.PerUpstream. An upstream whose breaker is open has room for no run, and for
// as many as there are probes while it is half-open.
type upstreamBreakers struct {
	table atomic.Pointer[breakerTable] // nil without breakers here
}

// breakerTable are the breakers of one configuration, by upstream.
type breakerTable struct {
	pool     *Pool
	settings BreakerSettings

	mu     sync.Mutex
	of     map[string]*breaker
	out    time.Time // since when all upstreams are out, zero if one is not
	closed bool
}

// configure makes breakers for new settings. Those with the same rules stay.
func (u *upstreamBreakers) configure(p *Pool, s Settings) {
	old := u.table.Load()
	if s.Breaker == nil || !s.Breaker.PerUpstream {
		u.table.Store(nil)
		if old != nil {
			old.close()
			old.release()
		}
		return
	}
	rules := s.Breaker.WithDefaults(s.LongestRun)
	if old != nil && old.settings == rules {
		return
	}
	u.table.Store(&breakerTable{pool: p, settings: rules, of: make(map[string]*breaker)})
	if old != nil {
		old.close()
		old.release()
	}
}

// holds reports whether the breakers let callers wait while all upstreams are out.
func (u *upstreamBreakers) holds() bool {
	t := u.table.Load()
	return t != nil && t.settings.Hold > 0
}

// overrule removes the bounds of the breakers while an operator controls the pool.
func (u *upstreamBreakers) overrule(c BreakerControl) {
	t := u.table.Load()
	switch {
	case t == nil:
	case c != BreakerAuto:
		t.release()
	default:
		u.bound(t.pool.gate.set())
	}
}

func (u *upstreamBreakers) close() {
	if t := u.table.Load(); t != nil {
		t.close()
	}
}

// get returns the breaker of an upstream, nil if it has none.
func (u *upstreamBreakers) get(name string) *breaker {
	t := u.table.Load()
	if t == nil || name == "" {
		return nil
	}
	return t.get(name)
}

// stateOf is the state of the breaker of an upstream.
func (u *upstreamBreakers) stateOf(name string) BreakerState {
	if t := u.table.Load(); t != nil {
		return t.stateOf(name)
	}
	return StateOff
}

// state is that of the pool: open while all upstreams are out.
func (u *upstreamBreakers) state() BreakerState {
	if u.out() {
		return StateOpen
	}
	return StateClosed
}

// out reports whether all upstreams are out.
func (u *upstreamBreakers) out() bool {
	t := u.table.Load()
	return t != nil && !t.since().IsZero()
}

// reject reports whether newcomers are rejected, because all upstreams are out and none of
// them is to be probed.
func (u *upstreamBreakers) reject() bool {
	t := u.table.Load()
	if t == nil {
		return false
	}
	since := t.since()
	if since.IsZero() || time.Since(since) < t.settings.Hold {
		return false
	}
	set := t.pool.gate.set()
	return set != nil && !set.Room(1)
}

// bound applies the states of the breakers to all upstreams of a set, since some may have
// just joined it.
func (u *upstreamBreakers) bound(set *upstream.Set) {
	if t := u.table.Load(); t != nil && set != nil && t.pool.breakerControl() == BreakerAuto {
		t.bound(set)
	}
}

func (t *breakerTable) get(name string) *breaker {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of[name]
	if b == nil && !t.closed {
		b = newBreaker(name, t.settings, &transitions{handle: func(c transition) { t.changed(name, c) }}, t.pool.clock)
		b.name = name
		b.row.limit(t.pool.gate.permitsAt(name), t.settings)
		t.of[name] = b
	}
	return b
}

func (t *breakerTable) stateOf(name string) BreakerState {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.of[name]; b != nil {
		return b.State()
	}
	return StateClosed
}

func (t *breakerTable) since() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out
}

// changed applies a change of the breaker of an upstream.
func (t *breakerTable) changed(name string, c transition) {
	if t.pool.each.table.Load() != t {
		return
	}
	set := t.pool.gate.set()
	if set == nil {
		return
	}
	if t.pool.breakerControl() == BreakerAuto {
		set.Bound(name, t.permits(c.to))
		t.pool.upstreamsChanged()
	}
	t.pool.upstreamsOut()
	if t.pool.observeUpstream != nil {
		t.pool.observeUpstream(name, c.from, c.to)
	}
}

// permits is the bound of an upstream in that state, negative without one.
func (t *breakerTable) permits(s BreakerState) int {
	switch s {
	case StateOpen:
		return 0
	case StateHalfOpen:
		return t.settings.Probes
	}
	return -1
}

func (t *breakerTable) bound(set *upstream.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, b := range t.of {
		set.Bound(name, t.permits(b.State()))
	}
}

// release removes the bounds of breakers that are not in force any longer.
func (t *breakerTable) release() {
	set := t.pool.gate.set()
	if set == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.of {
		set.Bound(name, -1)
	}
}

func (t *breakerTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, b := range t.of {
		b.close()
	}
}

// note notes whether all upstreams that are available are out. It returns since when, zero if
// one is not: a probe changes nothing before it has succeeded.
func (t *breakerTable) note(all []upstream.Count) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	available, out := 0, 0
	for _, c := range all {
		if !c.Available {
			continue
		}
		available++
		if b := t.of[c.Name]; b != nil && b.State() != StateClosed {
			out++
		}
	}
	switch {
	case out == 0 || out < available:
		t.out = time.Time{}
	case t.out.IsZero():
		t.out = time.Now()
	}
	return t.out
}

// upstreamsOut rejects the waiters when all upstreams are out, once they have been held for
// their time. While one of them is tried, its probe is the first waiter.
func (p *Pool) upstreamsOut() {
	t, set := p.each.table.Load(), p.gate.set()
	if t == nil || set == nil {
		return
	}
	since := t.note(set.Counts())
	if since.IsZero() {
		return
	}
	now := p.now()
	if rest := t.settings.Hold - time.Since(since); rest > 0 {
		p.holding.set(now+moment(rest), now)
		return
	}
	if !set.Room(1) {
		p.gate.rejectAll(BreakerOpen, now).wake()
	}
}

// breakerOf is the breaker for a run, nil without one.
func (p *Pool) breakerOf(s *slot) *breaker {
	if b := p.breaker.Load(); b != nil {
		return b
	}
	if s.at == nil || p.breakerControl() != BreakerAuto {
		return nil
	}
	return p.each.get(s.at.Name())
}

// permitsAt is the number of permits of an upstream.
func (g *gate) permitsAt(name string) int {
	set := g.set()
	if set == nil {
		return 0
	}
	for _, c := range set.Counts() {
		if c.Name == name {
			return c.Limit
		}
	}
	return 0
}

// endAt reports an outcome of the run to the breaker of its upstream, before the run moves to
// another one.
func (p Permit) endAt(o Outcome, now moment) {
	if old, ok := p.pool.gate.swap(p.slot, p.generation, reporter{}); ok {
		old.ended(o, false, now)
	}
}

// beginAt makes the result of the run count for the upstream to which it is bound now. What
// was not reported of another one before does not count.
func (p Permit) beginAt(name string) {
	now := p.pool.now()
	b := p.pool.each.get(name)
	if b == nil {
		return
	}
	r := reporter{since: now}
	b.allow(&r, now)
	old, ok := p.pool.gate.swap(p.slot, p.generation, r)
	if !ok {
		old = r
	}
	old.ended(Excluded, false, now)
}

// swap replaces the reporter of a run by another one. It reports false if the run is over,
// has reported its outcome, or reports to the breaker of the pool.
func (g *gate) swap(s *slot, generation uint64, r reporter) (old reporter, ok bool) {
	g.mu.Lock()
	defer g.unlock()
	old = s.reporter
	if b := old.breaker(); s.state.Load() != generation || (b != nil && b.name == "") {
		return reporter{}, false
	}
	s.reporter = r
	return old, true
}
