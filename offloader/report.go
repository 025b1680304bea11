package offloader

// Report tells the breaker the run's outcome now, while the run keeps its permit.
// Only the first report counts: a later one, and the outcome of the release, say
// nothing. The totals count the run once, at its release, with the reported
// outcome.
func (p Permit) Report(o Outcome) { p.report(o, false) }

// ReportTimeout reports that the run has exceeded its time, which is a failure. A
// breaker also trips after as many timeouts in a row as the pool has permits, at
// least MinTimeouts, of runs whose answers have not begun: see BreakerSettings.
func (p Permit) ReportTimeout() { p.report(Failure, true) }

// Began reports that the run's answer has begun well: a probe counts as a success
// at once, and the ramp counts the run. The results of a closed breaker do not
// change, since the rest of the answer may still fail.
func (p Permit) Began() {
	if p.pool == nil {
		return
	}
	h, out := p.pool.gate.began(p.slot, p.generation, p.pool.now())
	out.wake()
	h.began()
}

// Untimed marks a run whose length says nothing about other runs: a stream of
// events, an upgrade, a refused connection. Predictions ignore it, as they ignore
// abandoned and cancelled runs.
func (p Permit) Untimed() {
	if p.pool != nil {
		p.pool.gate.untimed(p.slot, p.generation)
	}
}

// Abandon counts the run as abandoned: its caller has left. It keeps its permit
// until it is released.
func (p Permit) Abandon() {
	if p.pool != nil {
		p.pool.gate.abandon(p.slot, p.generation, p.pool.now()).wake()
	}
}

func (p Permit) report(o Outcome, timeout bool) {
	if p.pool == nil {
		return
	}
	h, ok := p.pool.gate.report(p.slot, p.generation, o)
	if !ok {
		return
	}
	// The breaker first, as in a release.
	h.tell(o, timeout)
	p.pool.gate.reported(p.slot, p.generation, o, p.pool.now()).wake()
}

// report claims the right to settle a run, which one report or the release has.
func (g *gate) report(s *slot, generation uint64, o Outcome) (hearing, bool) {
	g.mu.Lock() // as long as it is held, the slot goes to no other permit
	defer g.mu.Unlock()
	if o >= outcomeCount || !s.report(generation, o) {
		return hearing{}, false
	}
	h := s.hearing
	h.begun = s.began
	return h, true
}

// reported lets the ramp count a reported outcome.
func (g *gate) reported(s *slot, generation uint64, o Outcome, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if s.generation() == generation { // else the release has counted it
		g.judge(s, o, now)
		g.handOver(now, &out)
	}
	return out
}

// began counts a good beginning, once, unless the outcome is known already.
func (g *gate) began(s *slot, generation uint64, now moment) (hearing, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if s.state.Load() != generation || s.began {
		return hearing{}, out
	}
	s.began = true
	if g.good(s, now) {
		g.handOver(now, &out)
	}
	return s.hearing, out
}

func (g *gate) untimed(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.generation() == generation {
		s.untimed = true
	}
}

// ends takes a run out of the abandoned ones, and out of those with a body that is not
// spooled. It requires g.mu.
func (g *gate) ends(s *slot) {
	g.uncap(s)
	if s.abandoned {
		s.abandoned = false
		g.abandoned--
	}
}

// abandonRun counts a run as abandoned, if it still holds its slot.
func (g *gate) abandon(s *slot, generation uint64, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if s.generation() == generation && !s.abandoned {
		s.abandoned = true
		g.abandoned++
		g.retire(s)
		g.handOver(now, &out) // the ramp may have room now
	}
	return out
}
