package offloader

import "time"

// rampTop is the limit at which a pool without one stops ramping up.
const rampTop = 1 << 10

// warmUp is how far a pool has come since its breaker has closed.
type warmUp struct {
	round  int           // good answers at this limit
	since  moment        // when this limit began
	atMost time.Duration // how long one limit holds
}

// startRamp lets a backend that just recovered warm up: one run at first. Runs
// from before are bounded by the concurrency only. It returns when warm has to be
// called.
func (g *gate) startRamp(atMost time.Duration, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.fresh = 1, 0
	g.recoveries++
	g.warmUp = warmUp{since: now, atMost: atMost}
	var out verdicts
	g.handOver(now, &out)
	return out, g.warmDue()
}

// stopRamp lifts the limit at once.
func (g *gate) stopRamp(now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = g.concurrency
	var out verdicts
	g.handOver(now, &out)
	return out
}

// warm widens a limit that has held for its time, and returns when to call it
// again, zero for never. Answers that take long, or never come, cannot keep the
// limit down.
func (g *gate) warm(now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if due := g.warmDue(); due != 0 && due <= now {
		g.widen(now)
		g.handOver(now, &out)
	}
	return out, g.warmDue()
}

// The methods below require g.mu.

func (g *gate) warming() bool { return g.limit < g.concurrency }

func (g *gate) warmDue() moment {
	if !g.warming() {
		return 0
	}
	return g.warmUp.since + moment(g.warmUp.atMost)
}

// vacant reports whether a slot may be given out.
func (g *gate) vacant() bool { return g.running < g.concurrency && g.fresh < g.limit }

// givenOut is how many slots may be taken now, those of runs included that the ramp
// does not bound.
func (g *gate) givenOut() int { return min(g.concurrency, g.running-g.fresh+g.limit) }

// retire takes a run out of those that the ramp bounds: it has ended, it is
// abandoned or its permit lingers. From then on it says nothing to the ramp.
func (g *gate) retire(s *slot) {
	if s.recovery == g.recoveries {
		g.fresh--
	}
	s.recovery = retired
}

// judge counts an outcome, once for each run. A failure starts the round again.
// Runs that began before the ramp did, the probe among them, say nothing.
func (g *gate) judge(s *slot, o Outcome, now moment) {
	if s.judged {
		return
	}
	s.judged = true
	switch {
	case o == Success:
		g.good(s, now)
	case o == Failure && s.recovery == g.recoveries:
		g.warmUp.round = 0
	}
}

// good counts a good answer, once for each run: a round of as many as the limit
// widens it. It reports whether this one did.
func (g *gate) good(s *slot, now moment) bool {
	if s.counted || !g.warming() || s.recovery != g.recoveries {
		return false
	}
	s.counted = true
	g.warmUp.round++
	if g.warmUp.round < g.limit {
		return false
	}
	g.widen(now)
	return true
}

// widen doubles the limit.
func (g *gate) widen(now moment) {
	g.limit = min(2*g.limit, g.concurrency)
	if g.limit >= rampTop {
		g.limit = g.concurrency
	}
	g.warmUp.round, g.warmUp.since = 0, now
}
