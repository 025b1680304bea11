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
	h, out := p.pool.gate.began(p.slot, p.generation, p.pool.now())
	out.wake()
	h.began()
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
	// The breaker first, as in a release.
	h.ended(o, timeout)
	p.pool.gate.reported(p.slot, p.generation, o, p.pool.now()).wake()
}

// report claims the right to report the outcome of a run, which is given once.
func (g *gate) report(s *slot, generation uint64, o Outcome) (reporter, bool) {
	g.mu.Lock() // while it is held, s goes to no other permit
	defer g.mu.Unlock()
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
	defer g.mu.Unlock()
	var out verdicts
	if s.generation() == generation { // else the release has counted it
		g.judge(s, o, now)
		g.handOver(now, &out)
	}
	return out
}

// began counts a good beginning, once, unless the outcome is known.
func (g *gate) began(s *slot, generation uint64, now moment) (reporter, verdicts) {
	g.mu.Lock()
	defer g.mu.Unlock()
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

func (g *gate) untimed(s *slot, generation uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.generation() == generation {
		s.untimed = true
	}
}

// ends takes a run out of the abandoned and the capped runs. It requires g.mu.
func (g *gate) ends(s *slot) {
	g.uncap(s)
	if s.abandoned {
		s.abandoned = false
		g.abandoned--
	}
}

// abandon counts a run as abandoned, if it still holds its permit.
func (g *gate) abandon(s *slot, generation uint64, now moment) verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if s.generation() == generation && !s.abandoned {
		s.abandoned = true
		g.abandoned++
		g.retire(s)
		g.handOver(now, &out) // the warm-up may have room now
	}
	return out
}
