package offloader

import "time"

// rampTop is the limit at which the warm-up ends in a pool whose concurrency is unlimited.
const rampTop = 1 << 10

// warmUp is the progress of a pool since its breaker has closed.
type warmUp struct {
	round   int           // good responses at this limit
	since   moment        // when this limit began
	atMost  time.Duration // one limit holds
	probing bool          // the breaker is not closed yet, and the limit is that of probes
}

// startRamp begins to warm up a backend that has recovered, with one run at a time. Runs
// that began before are bounded by the concurrency only. It returns the time of the next
// call of warm.
func (g *gate) startRamp(atMost time.Duration, now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.unlock()
	g.beginRamp(1, now)
	g.warmUp = warmUp{since: now, atMost: atMost}
	var out verdicts
	g.handOver(now, &out)
	return out, g.warmDue()
}

// stopRamp ends a warm-up, and a hold.
func (g *gate) stopRamp(now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	if g.holdsBack() {
		g.endHold(now)
	}
	g.limit = g.concurrency
	var out verdicts
	g.handOver(now, &out)
	return out
}

// warm raises the limit of the warm-up when it has lasted for its longest time, so that
// slow or missing responses do not keep the limit low. It returns when it is due again,
// zero for never.
func (g *gate) warm(now moment) (verdicts, moment) {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if due := g.warmDue(); due != 0 && due <= now {
		g.widen(now)
		g.handOver(now, &out)
	}
	return out, g.warmDue()
}

// The methods below require g.mu.

// beginRamp lets so many new runs begin. Runs that began before are bounded by the
// concurrency only.
func (g *gate) beginRamp(limit int, now moment) {
	if g.holdsBack() {
		g.endHold(now)
	}
	g.limit, g.fresh = limit, 0
	g.recoveries++
}

// endHold ends a hold. The pace until now says how long the backend was down, and not how
// long runs take.
func (g *gate) endHold(now moment) {
	g.holding, g.warmUp.probing = false, false
	if g.queue.len > 0 {
		g.pace.begin(g.running, now)
	}
}

func (g *gate) warming() bool { return g.limit < g.concurrency }

// warmsUp reports whether the limit is that of a warm-up, and not of probes.
func (g *gate) warmsUp() bool { return g.warming() && !g.holdsBack() }

func (g *gate) warmDue() moment {
	if !g.warming() || g.warmUp.probing {
		return 0
	}
	return g.warmUp.since + moment(g.warmUp.atMost)
}

// vacant reports whether a permit is free.
func (g *gate) vacant() bool {
	if g.upstreams != nil {
		return g.fitsUpstream(1)
	}
	return g.running < g.concurrency && g.fresh < g.limit
}

// givenOut is the number of permits that may be taken now, including those of runs that
// the warm-up does not bound.
func (g *gate) givenOut() int { return min(g.concurrency, g.running-g.fresh+g.limit) }

// retire makes the warm-up ignore a run, since the run has ended or is abandoned, or its
// permit lingers.
func (g *gate) retire(s *slot) {
	if s.recovery == g.recoveries {
		g.fresh -= s.permits()
	}
	s.recovery = retired
}

// judge counts a run's outcome for the warm-up, once for each run: a failure sets the count
// of good responses back to zero. Runs that began before the warm-up, such as the probe,
// are ignored.
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

// good counts a good response for the warm-up, once for each run. After as many good
// responses as the limit allows runs, it raises the limit and returns true.
func (g *gate) good(s *slot, now moment) bool {
	if s.counted || !g.warming() || g.warmUp.probing || s.recovery != g.recoveries {
		return false
	}
	s.counted = true
	g.warmUp.round += s.permits()
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
