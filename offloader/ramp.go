package offloader

// rampTop is the limit at which a pool without one stops ramping up.
const rampTop = 1 << 10

// startRamp lets a backend that just recovered warm up: one run at first.
func (g *gate) startRamp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.round = 1, 0
	g.recoveries++
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

// ramp doubles the limit after each round of that many successes; a failure
// starts the round again. Runs that began before the ramp did, the probe among
// them, say nothing. It requires g.mu.
func (g *gate) ramp(s *slot, o Outcome) {
	if g.limit >= g.concurrency || s.recovery != g.recoveries {
		return
	}
	switch o {
	case Failure:
		g.round = 0
	case Success:
		g.round++
	}
	if g.round < g.limit {
		return
	}
	g.limit, g.round = min(2*g.limit, g.concurrency), 0
	if g.limit >= rampTop {
		g.limit = g.concurrency
	}
}
