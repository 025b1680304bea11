package offloader

// Report reports the run's outcome to the breaker now, while the run keeps its permit.
// Only the first report counts: later ones, and the outcome of the release, are
// ignored. The totals count the run once, at its release, with the reported outcome.
func (p Permit) Report(o Outcome) { p.report(o, false) }

// ReportTimeout reports that the run has exceeded its time, which is a failure. A
// breaker also trips after as many timeouts in a row as the pool has permits, at least
// MinTimeouts, of runs whose responses have not begun: see [BreakerSettings].
func (p Permit) ReportTimeout() { p.report(Failure, true) }

// Began reports that the response has begun well: a probe counts as a success at once,
// and the warm-up counts the run. The results of a closed breaker do not change, since
// the rest of the response may still fail.
func (p Permit) Began() {
	if p.pool == nil {
		return
	}
	now := p.pool.now()
	h, out := p.pool.gate.began(p.slot, p.generation, now)
	out.wake()
	h.began(now)
}

// Untimed marks a run whose length is not typical: a stream of events, a tunnel, a
// rejected connection. Predictions ignore it, as they ignore abandoned and
// cancelled runs.
func (p Permit) Untimed() {
	if p.pool != nil {
		p.pool.gate.untimed(p.slot, p.generation)
	}
}

// Abandon counts the run as abandoned: its caller has left. The run keeps its permit
// until the release.
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
	now := p.pool.now()
	// The breaker first, as in a release.
	h.ended(o, timeout, now)
	p.pool.gate.reported(p.slot, p.generation, o, now).wake()
}

// report returns the reporter for the outcome of a run. It returns false if an outcome was
// reported before, or the permit was released.
func (g *gate) report(s *slot, generation uint64, o Outcome) (reporter, bool) {
	g.mu.Lock() // while it is held, s goes to no other permit
	defer g.unlock()
	if o >= outcomeCount || !s.report(generation, o) {
		return reporter{}, false
	}
	h := s.reporter
	h.begun = s.began
	return h, true
}

// reported lets the warm-up count a reported outcome.
func (g *gate) reported(s *slot, generation uint64, o Outcome, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if s.generation() == generation { // else the release has counted it
		g.judge(s, o, now)
		g.handOver(now, &out)
	}
	return out
}

// began counts a response that has begun well, once, unless the run's outcome was reported
// before.
func (g *gate) began(s *slot, generation uint64, now moment) (reporter, verdicts) {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if s.state.Load() != generation || s.began {
		return reporter{}, out
	}
	s.began = true
	if g.good(s, now) {
		g.handOver(now, &out)
	}
	return s.reporter, out
}

// completes lets the reporter know whether the response had begun well, where a rule for slow
// runs needs that.
func (g *gate) completes(s *slot) {
	if b := s.reporter.breaker(); b == nil || b.settings.SlowRatio == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.reporter.begun = s.began
}

func (g *gate) untimed(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.unlock()
	if s.generation() == generation {
		s.untimed = true
	}
}

func (g *gate) unanswered(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.unlock()
	if s.generation() == generation {
		s.reporter.unanswered = true
	}
}

// ends takes a run out of the abandoned and the capped runs. It requires g.mu.
func (g *gate) ends(s *slot) {
	g.uncap(s)
	if s.abandoned {
		s.abandoned = false
		g.abandoned -= s.permits()
	}
}

// abandon counts a run as abandoned, if it still holds its permit.
func (g *gate) abandon(s *slot, generation uint64, now moment) verdicts {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if s.generation() == generation && !s.abandoned && !s.preflight {
		s.abandoned = true
		g.abandoned += s.permits()
		g.retire(s)
		g.handOver(now, &out) // the warm-up may have room now
	}
	return out
}
