package offloader

import "time"

// Snapshot is a copy of a pool's numbers. Those of the gate are of one moment; the
// totals may be a few calls ahead of them.
type Snapshot struct {
	Name string
	// Phase of the pool's life.
	Phase Phase

	// Concurrency is the number of permits, zero without a limit. Limit is how many are
	// given out now: fewer while the pool warms up, or while runs of elder pools hold
	// Lent of them.
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

	// Announced counts the calls that prepare and have not acquired yet:
	// Ticket.Announce.
	Announced int

	// Capped is the part of Running that shares half of the permits:
	// Ticket.CappedBy.
	Capped int

	// Predecessors counts the calls in flight in pools that this one has succeeded.
	Predecessors int

	// Detached counts the runs that have left the pool by Permit.Detach and go on.
	Detached int64

	// Waiting is the length of the queue, QueueLimit its bound.
	Waiting    int
	QueueLimit int
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
		Ended:    make(map[Outcome]uint64),

		BreakerChanged: make(map[BreakerState]uint64),
	}
	p.gate.snapshot(&s, p.now())
	s.Predecessors = p.inFlightBefore()
	s.Breaker, s.BreakerForced = p.breakerState()
	s.Overridden = p.Overridden()
	for r := range p.rejected {
		if n := p.rejected[r].Load(); n > 0 {
			s.Rejected[Reason(r)] = n
		}
	}
	for o := range p.ended {
		s.Ended[Outcome(o)] = p.ended[o].Load()
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
	if g.warming() {
		s.WarmingUp = g.limit
	}
	s.Running, s.Abandoned, s.Lingering = g.running-g.lent, g.abandoned, g.lingering
	s.Announced, s.Capped = g.announced, g.capped
	s.Waiting, s.QueueLimit = g.queue.len, g.queueLimit
	s.NewestFirst = !g.healthy()
	s.TypicalRun = time.Duration(g.predictedRun())
	if g.queue.len > 0 {
		s.OldestWait = now.since(g.queue.oldest())
	}
}

// Gauges are the numbers of a pool that change with every call. They cost less than a
// Snapshot.
type Gauges struct {
	Running, Limit      int // Limit is zero without one; lent permits count as running
	Waiting, QueueLimit int
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
	n := Gauges{Running: g.running, Limit: boundedOrZero(g.givenOut()), Waiting: g.queue.len, QueueLimit: g.queueLimit}
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
