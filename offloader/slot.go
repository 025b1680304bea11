package offloader

import (
	"sync/atomic"
	"time"
)

// slot is one permit's place. It is reused by later permits, each with another
// generation, so that an old permit's release finds nothing.
type slot struct {
	// state is the generation of the permit that holds the slot, and in the
	// lowest bits what was reported of its run. Release raises the generation with
	// a compare-and-swap: that decides between two releases.
	state atomic.Uint64
	next  *slot // in the list of free slots

	// These belong to the holder of the current generation. Others may read them
	// under the gate's mutex, as long as the generation is the current one.
	started moment
	hearing hearing // tells the breaker the outcome, zero without one
	last    bool    // no other slot was left; written under the gate's mutex

	marks // guarded by the gate's mutex, but for cancelled
}

// marks are what a gate notes about a run. The zero value is a new run.
type marks struct {
	recovery  int  // gate.recoveries when it began, retired if the ramp ignores it
	abandoned bool // the run goes on without a caller
	untimed   bool // its length says nothing about other runs
	capped    bool // it counts for the half of the permits that capped callers share
	began     bool // its answer has begun well
	counted   bool // as one good answer of a round of the ramp
	judged    bool // its outcome has been counted by the ramp
	cancelled bool // written by the release, which owns the slot
}

// retired is the recovery of runs that the ramp does not bound.
const retired = -1

const (
	reportedMask   = 1<<2 - 1 // 0: nothing reported, else the outcome + 1
	generationStep = reportedMask + 1
)

// generation is that of the permit that holds the slot.
func (s *slot) generation() uint64 { return s.state.Load() &^ reportedMask }

// release ends a generation. It reports false if that has ended before, and
// returns the outcome for which the run counts: the reported one, else o.
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

// report notes an outcome, and reports false if the generation has ended or an
// outcome has been reported before.
func (s *slot) report(generation uint64, o Outcome) bool {
	return s.state.CompareAndSwap(generation, generation|uint64(o+1))
}

// The methods below require g.mu.

// learn lets the estimate know of a run that has ended, if it teaches something.
func (g *gate) learn(s *slot, run time.Duration, now moment) {
	if s.teaches() {
		g.runs.add(run, now)
	}
}

// teaches reports whether the run's length says something about other runs.
func (s *slot) teaches() bool { return !s.untimed && !s.abandoned && !s.cancelled }
