package offloader

import "time"

// rampTop is the limit at which a pool without a limit has warmed up.
const rampTop = 1 << 10

// warmUp is the progress of a pool since its breaker has closed.
type warmUp struct {
	round  int           // good responses at this limit
	since  moment        // when this limit began
	atMost time.Duration // one limit holds
}

// startRamp begins to warm up a backend that has recovered: with one run. Runs from
// before are bounded by the concurrency only. It returns when warm is due.
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

// stopRamp ends a warm-up.
func (g *gate) stopRamp(now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = g.concurrency
	var out verdicts
	g.handOver(now, &out)
	return out
}

// warm widens a limit that has held for its time, and returns when it is due again,
// zero for never. So responses that take long, or never come, do not keep the limit
// down.
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

// vacant reports whether a permit is free.
func (g *gate) vacant() bool { return g.running < g.concurrency && g.fresh < g.limit }

// givenOut is the number of permits that may be taken now, including those of runs that
// the warm-up does not bound.
func (g *gate) givenOut() int { return min(g.concurrency, g.running-g.fresh+g.limit) }

// retire ends the part of a run in the warm-up: the run has ended, is abandoned, or its
// permit lingers. The warm-up ignores it from then on.
func (g *gate) retire(s *slot) {
	if s.recovery == g.recoveries {
		g.fresh--
	}
	s.recovery = retired
}

// judge counts an outcome, once for each run. A failure restarts the round. Runs that
// began before the warm-up, such as the probe, are ignored.
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

// good counts a good response, once for each run: as many as the limit make a round,
// which widens it. It reports whether it did.
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
