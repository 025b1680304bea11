package offloader

import "time"

// Snapshot is a copy of a pool's numbers. Queue and permits are those of one moment; the
// totals may be a few calls ahead of them.
type Snapshot struct {
	Name string
	// Phase of the pool's life.
	Phase Phase

	// Concurrency is the number of permits, zero without a limit. Limit is how many of them
	// may be in use now: fewer while the pool warms up, or while runs of elder pools, its
	// predecessors, hold Lent of them.
	Concurrency int
	Limit       int
	Lent        int
	// WarmingUp is the limit of the runs that have begun since the breaker closed, zero
	// outside of a warm-up. Limit includes other runs: older, abandoned and lingering
	// ones.
	WarmingUp int
	// Running is the number of permits in use. Abandoned is the part of it whose runs
	// go on without their callers, Lingering the part whose runs have ended.
	Running   int
	Abandoned int
	Lingering int

	// MostRunning and MostWaiting are the largest values of Running and Waiting since the
	// pool was made.
	MostRunning int
	MostWaiting int

	// Announced counts the calls that prepare and have not acquired yet:
	// Ticket.Announce.
	Announced int

	// Capped is the part of Running that belongs to capped callers, which share half of the
	// permits: Ticket.CappedBy.
	Capped int

	// Preflights counts the runs without a permit: Ticket.Preflight.
	Preflights int

	// Predecessors counts the calls in flight in pools that this one has replaced.
	Predecessors int

	// Detached counts the runs that have left the pool by Permit.Detach and go on.
	Detached int64

	// Waiting is the length of the queue, QueueLimit its bound.
	Waiting    int
	QueueLimit int
	// Held is the part of Waiting that waits until the breaker has closed:
	// BreakerSettings.Hold.
	Held int
	// OldestWait is the time that the first waiter has waited.
	OldestWait time.Duration
	// NewestFirst is true while the queue is too long to be served in order.
	NewestFirst bool
	// TypicalRun is how long a run takes, zero before one has ended: while callers
	// wait, the time for which a permit serves one of them, the median of the last
	// rounds; else the median of the last runs.
	TypicalRun time.Duration

	// Breaker is the breaker's state. BreakerForced is true while [Pool.ForceBreaker]
	// holds it.
	Breaker       BreakerState
	BreakerForced bool
	// ProbesIn is the rest of the cool-down of an open breaker, zero in other states and
	// for a forced one.
	ProbesIn time.Duration
	// HoldEndsIn is how long callers still wait if the breaker does not close, zero if
	// it rejects them or is closed.
	HoldEndsIn time.Duration

	// Classes are the numbers of the classes, the most urgent one first. It is empty in a
	// pool that needs no claims.
	Classes []ClassCount

	// Upstreams are those of the last report, empty in a pool that does not count their
	// permits.
	Upstreams []UpstreamCount
	// Seeking is the part of Running that has no permit at an upstream: its runs wait in
	// Permit.Bind for one with room, or for the one that they prefer.
	Seeking int

	// Overridden are the settings that Pool.Override has replaced.
	Overridden Override

	// Totals since the pool was made. Admitted callers got a permit; Left callers gave
	// up waiting. BreakerChanged counts the changes of the breaker by its new state.
	Admitted       uint64
	Left           uint64
	Rejected       map[Reason]uint64
	Ended          map[Outcome]uint64
	BreakerChanged map[BreakerState]uint64
}

// Snapshot returns the pool's numbers.
func (p *Pool) Snapshot() Snapshot {
	s := Snapshot{
		Name:     p.name,
		Admitted: p.admitted.Load(),
		Left:     p.left.Load(),
		Detached: p.detached.Load(),
		Rejected: make(map[Reason]uint64),

		BreakerChanged: make(map[BreakerState]uint64),
	}
	p.gate.snapshot(&s, p.now())
	s.Predecessors = p.inFlightBefore()
	s.Breaker, s.BreakerForced = p.breakerState()
	s.ProbesIn, s.HoldEndsIn = p.probesIn(), p.holdEndsIn()
	s.Overridden = p.Overridden()
	for i, u := range s.Upstreams {
		state := p.each.stateOf(u.Name)
		s.Upstreams[i].Breaker, s.Upstreams[i].Available = state, u.Available && state != StateOpen
	}
	if p.each.out() {
		s.Held = s.Waiting
	}
	for r := range p.rejected {
		if n := p.rejected[r].Load(); n > 0 {
			s.Rejected[Reason(r)] = n
		}
	}
	for state := StateClosed; state < breakerStateCount; state++ {
		s.BreakerChanged[state] = p.changed[state].Load()
	}
	return s
}

func (g *gate) snapshot(s *Snapshot, now moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Phase = Phase(g.phase.Load())
	s.Concurrency, s.Limit = boundedOrZero(g.concurrency), g.ownLimit()
	s.Lent = g.lent
	if g.warmsUp() {
		s.WarmingUp = g.limit
	}
	s.Running, s.Abandoned, s.Lingering = g.running-g.lent, g.abandoned, g.lingering
	s.MostRunning, s.MostWaiting = g.mostRunning, g.mostWaiting
	s.Announced, s.Capped = g.announced, g.capped
	s.Preflights = g.preflights
	s.Waiting, s.QueueLimit = g.queue.all(), g.queueLimit
	if g.holdsBack() {
		s.Held = g.queue.len
	}
	s.NewestFirst = !g.healthy()
	s.TypicalRun = time.Duration(g.predictedRun())
	s.Ended = make(map[Outcome]uint64, outcomeCount)
	for o, n := range g.ended {
		s.Ended[Outcome(o)] = n
	}
	if g.queue.all() > 0 {
		s.OldestWait = now.since(g.queue.oldest())
	}
	s.Classes = g.classCounts()
	if g.upstreams != nil {
		for _, c := range g.upstreams.Counts() {
			s.Upstreams = append(s.Upstreams, UpstreamCount{Count: c})
		}
		s.Seeking = max(g.running-g.lent-g.upstreams.Own(), 0)
	}
}

// Gauges are the numbers of a pool that change with every call. They cost less than a
// Snapshot.
type Gauges struct {
	Running, Limit      int // Limit is zero without one; lent permits count as running
	Waiting, QueueLimit int
	Preflights          int
	Breaker             BreakerState
	// PredictedWait is the wait of a newcomer, by TypicalRun. It is zero if a permit is
	// free.
	PredictedWait time.Duration
}

// Gauges returns the pool's current numbers.
func (p *Pool) Gauges() Gauges {
	n := p.gate.gauges()
	n.Breaker, _ = p.breakerState()
	return n
}

func (g *gate) gauges() Gauges {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := Gauges{Running: g.running, Limit: boundedOrZero(g.givenOut()), Waiting: g.queue.all(), QueueLimit: g.queueLimit, Preflights: g.preflights}
	if a, _ := g.decide(nil, false); a != admit {
		n.PredictedWait = g.predictNext()
	}
	return n
}

func boundedOrZero(n int) int {
	if n == unlimited {
		return 0
	}
	return n
}
