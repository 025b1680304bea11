package offloader

import (
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/internal/fair"
	"github.com/caddy-offload/caddy-offload/offloader/internal/upstream"
)

// slot holds one permit. Later permits reuse it, each with another generation, so that
// the release of an old permit has no effect.
type slot struct {
	// state is the generation of the permit that holds the slot and, in the lowest
	// bits, the reported outcome of its run. Release raises the generation with a
	// compare-and-swap, which decides between two releases.
	state atomic.Uint64
	next  *slot // in gate.free

	// The holder of the current permit owns these fields. Other goroutines may read them
	// under the gate's mutex while the permit's generation is the current one.
	started   moment
	reporter  reporter // to the breaker; zero without one
	last      bool     // it took the last free permit; written under the gate's mutex
	preflight bool     // it holds no permit, as a preflight; written under the gate's mutex

	// Guarded by the gate's mutex.
	seat *fair.Seat       // with the gate's shares; nil without them
	at   *upstream.Member // where the run has its permits; nil without upstreams

	marks // guarded by the gate's mutex, but for cancelled
}

// marks are the gate's notes on a run. The zero value is a new run.
type marks struct {
	recovery  int32 // gate.recoveries when it began, retired if the warm-up ignores it
	abandoned bool  // the run goes on without a caller
	untimed   bool  // its length is not typical
	capped    bool  // it counts for the half of the permits that capped callers share
	sent      bool  // Bind has chosen its upstream
	began     bool  // its response has begun well
	counted   bool  // as a good response in a round of the warm-up
	unused    bool  // its permit comes back without a run
	judged    bool  // the warm-up has counted its outcome
	cancelled bool  // written by the release, which owns the record
}

// retired is the value of marks.recovery for runs that the warm-up ignores.
const retired = -1

const (
	reportedMask   = 1<<2 - 1 // 0: nothing reported, else the outcome + 1
	generationStep = reportedMask + 1
)

// permits is the number of permits that the run holds. It requires g.mu.
func (s *slot) permits() int {
	if s.seat == nil {
		return 1
	}
	return s.seat.Cost
}

// generation is the generation of the current holder.
func (s *slot) generation() uint64 { return s.state.Load() &^ reportedMask }

// release ends the permit with that generation. It returns the outcome that counts, the
// reported one or else o. ok is false if the permit was released before.
func (s *slot) release(generation uint64, o Outcome) (counts Outcome, reported, ok bool) {
	for {
		state := s.state.Load()
		if state&^reportedMask != generation {
			return o, false, false
		}
		if !s.state.CompareAndSwap(state, generation+generationStep) {
			continue // a report came first
		}
		if said := state & reportedMask; said != 0 {
			return Outcome(said - 1), true, true
		}
		return o, false, true
	}
}

// report notes an outcome. It reports false if the generation has ended or an outcome
// was reported before.
func (s *slot) report(generation uint64, o Outcome) bool {
	return s.state.CompareAndSwap(generation, generation|uint64(o+1))
}

// The methods below require g.mu.

// learn adds a run that has ended to the estimate, if its length is typical.
func (g *gate) learn(s *slot, run time.Duration, now moment) {
	if s.teaches() {
		g.runs.add(run, now)
	}
}

// teaches reports whether the run's length is typical for other runs.
func (s *slot) teaches() bool { return !s.untimed && !s.abandoned && !s.cancelled }
