package offloader

import (
	"context"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/internal/upstream"
)

// A pool in front of several upstreams has one queue. The gate gives a permit to a waiter
// only when an upstream has room, and takes the permit of that upstream with it. So waiters
// are bound as late as possible: to the upstream that comes free first. Where the run is
// sent in the end is decided later, by [Permit.Bind].

// Upstreams counts the permits of upstreams, by name, for all pools that share it.
type Upstreams = upstream.Table

// NewUpstreams returns an empty table.
func NewUpstreams() *Upstreams { return upstream.NewTable() }

// UpstreamState is what a pool learns about one of its upstreams.
type UpstreamState = upstream.State

// UpstreamCount is the state of an upstream, and the number of its permits.
type UpstreamCount struct {
	upstream.Count
	// Breaker is the state of the upstream's breaker, StateOff without one. An upstream
	// whose breaker is open is not available.
	Breaker BreakerState
}

// UpstreamChoice is what a run asks for that is about to be sent.
type UpstreamChoice = upstream.Choice

// ReportUpstreams replaces the upstreams of the pool. Those that are not available get no new
// runs, and their runs go on. A pool that has not got a report yet has the permits of one
// upstream. It does nothing if Settings.UpstreamConcurrency is zero.
func (p *Pool) ReportUpstreams(list []UpstreamState) {
	if set := p.gate.set(); set != nil && set.Report(list) {
		p.each.bound(set)
		p.upstreamsChanged()
	}
}

// BindsUpstreams reports whether the pool counts the permits of its upstreams. It takes no
// lock.
func (p *Pool) BindsUpstreams() bool { return p.gate.binds.Load() }

// Bind binds the run to an upstream with room, which it returns. The permit of the upstream
// to which it was bound before comes free. If none has room, Bind waits for so long,
// before all waiters of the pools; then, or if the context ends, it returns false, and
// the run holds no permit of an upstream. It returns false too for a pool that does not count
// upstreams, or for a permit that is released.
func (p Permit) Bind(ctx context.Context, c UpstreamChoice, wait time.Duration) (name string, ok bool) {
	if p.pool == nil {
		return "", false
	}
	g, now := &p.pool.gate, p.pool.now()
	from, sent := g.at(p.slot, p.generation)
	failed := sent && from == c.Avoid // its handler selects another upstream
	if failed {
		p.endAt(Failure, now)
	}
	set, permits, name, out := g.move(p.slot, p.generation, c, now)
	out.wake()
	if set == nil {
		return "", false
	}
	if name == "" {
		name = p.seek(ctx, set, permits, c, wait)
	}
	if name != from || failed {
		p.beginAt(name)
	}
	return name, name != ""
}

// seek waits for an upstream with room. It returns an empty name if there is none in time.
func (p Permit) seek(ctx context.Context, set *upstream.Set, permits int, c UpstreamChoice, wait time.Duration) string {
	found := set.Seek(ctx, permits, c, wait)
	if found == nil {
		return ""
	}
	if !p.pool.gate.settle(p.slot, p.generation, found) {
		for _, changed := range found.Free(permits, false) {
			changed()
		}
		p.pool.upstreamsChanged()
		return ""
	}
	return found.Name()
}

// upstreamsChanged gives waiters the permits that have come free.
func (p *Pool) upstreamsChanged() {
	p.gate.recheck(p.now()).wake()
}

// setOf returns the set of upstreams for settings, nil without one. It requires
// p.configuring.
func (p *Pool) setOf(s Settings) *upstream.Set {
	if s.UpstreamConcurrency == 0 {
		return nil
	}
	limits := upstream.Limits{Each: s.UpstreamConcurrency, Of: s.ConcurrencyOf}
	set := p.gate.set()
	if set == nil {
		return p.upstreams.NewSet(limits, p.upstreamsChanged)
	}
	set.Arrange(limits)
	return set
}

func (g *gate) set() *upstream.Set {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.upstreams
}

// countUpstreams changes the set. The caller configures the gate next.
func (g *gate) countUpstreams(set *upstream.Set) {
	g.mu.Lock()
	old := g.upstreams
	g.upstreams = set
	g.binds.Store(set != nil)
	g.mu.Unlock()
	if old != nil && old != set {
		old.Close()
	}
}

// recheck hands out permits that have come free at upstreams, by other pools or by a report.
func (g *gate) recheck(now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	g.resize()
	g.handOver(now, &out)
	return out
}

// move binds a run to another upstream. It returns an empty name if none has room, and no
// set if the run is not bound to any.
func (g *gate) move(s *slot, generation uint64, c UpstreamChoice, now moment) (set *upstream.Set, permits int, name string, out verdicts) {
	g.mu.Lock()
	defer g.unlock()
	if g.upstreams == nil || s.preflight || s.generation() != generation {
		return nil, 0, "", out
	}
	to, changed := g.upstreams.Move(s.at, s.permits(), c)
	moved := s.at != to
	s.at, out.changed = to, changed
	if moved {
		g.handOver(now, &out)
	}
	if to != nil {
		name = to.Name()
	}
	return g.upstreams, s.permits(), name, out
}

// at is the upstream of a run, empty without one. sent reports whether Bind was called
// before: then the run may have been sent there.
func (g *gate) at(s *slot, generation uint64) (name string, sent bool) {
	g.mu.Lock()
	defer g.unlock()
	if s.generation() != generation {
		return "", false
	}
	sent, s.sent = s.sent, true
	if s.at == nil {
		return "", sent
	}
	return s.at.Name(), sent
}

// settle notes the upstream that a run has found. It reports false if the run is over, or
// bound by another call.
func (g *gate) settle(s *slot, generation uint64, at *upstream.Member) bool {
	g.mu.Lock()
	defer g.unlock()
	if s.generation() != generation || s.at != nil {
		return false
	}
	s.at = at
	return true
}

// The methods below require g.mu.

// resize applies the number of permits. That of the upstreams is the one that predictions
// need; what may run is decided by each upstream.
func (g *gate) resize() {
	warming := g.warming()
	g.concurrency = g.configured
	if g.upstreams != nil {
		g.concurrency = min(g.configured, max(g.upstreams.Sum(), 1))
	}
	if !warming || g.limit > g.concurrency {
		g.limit = g.concurrency
	}
}

// fitsUpstream reports whether so many permits are free at one upstream. Runs at upstreams
// that are not available any longer bound no others.
func (g *gate) fitsUpstream(permits int) bool {
	return g.running+permits <= g.configured &&
		(!g.warming() || g.fresh == 0 || g.fresh+permits <= g.limit) &&
		g.upstreams.Room(permits)
}

// leaveUpstream gives back the permits of a run at its upstream.
func (g *gate) leaveUpstream(s *slot, out *verdicts) {
	if s.at != nil {
		out.changed = append(out.changed, s.at.Free(s.permits(), s.reporter.unanswered)...)
		s.at = nil
	}
}
