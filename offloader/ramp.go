package offloader

// rampTop is the limit at which a pool without one stops ramping up.
const rampTop = 1 << 10

// startRamp lets a backend that just recovered warm up: one run at first. Runs
// from before are bounded by the concurrency only.
func (g *gate) startRamp(now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.round, g.fresh = 1, 0, 0
	g.recoveries++
	var out verdicts
	g.handOver(now, &out)
	return out
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

// The methods below require g.mu.

// vacant reports whether a slot may be given out.
func (g *gate) vacant() bool { return g.running < g.concurrency && g.fresh < g.limit }

// retire takes a run out of those that the ramp bounds: it has ended, it is
// abandoned or its permit lingers. From then on it says nothing to the ramp.
func (g *gate) retire(s *slot) {
	if s.recovery == g.recoveries {
		g.fresh--
	}
	s.recovery = retired
}

// ramp doubles the limit after each round of that many good answers; a failure
// starts the round again. Runs that began before the ramp did, the probe among
// them, say nothing.
func (g *gate) ramp(s *slot, o Outcome) {
	if s.judged {
		return
	}
	s.judged = true
	switch o {
	case Success:
		g.good(s)
	case Failure:
		if s.recovery == g.recoveries {
			g.round = 0
		}
	}
}

// good counts a good answer, once for each run, and reports whether the limit has
// changed.
func (g *gate) good(s *slot) bool {
	if s.counted || g.limit >= g.concurrency || s.recovery != g.recoveries {
		return false
	}
	s.counted = true
	g.round++
	if g.round < g.limit {
		return false
	}
	g.widen()
	return true
}

// widen doubles the limit.
func (g *gate) widen() {
	g.limit, g.round = min(2*g.limit, g.concurrency), 0
	if g.limit >= rampTop {
		g.limit = g.concurrency
	}
}
