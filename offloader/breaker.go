package offloader

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is the state of a pool's breaker.
type BreakerState uint8

const (
	// StateOff: the pool has no breaker.
	StateOff BreakerState = iota
	// StateClosed: runs pass and are counted.
	StateClosed
	// StateHalfOpen: probes find out whether the backend has recovered.
	StateHalfOpen
	// StateOpen: all calls are rejected until the cool-down is over.
	StateOpen

	breakerStateCount
)

var breakerStateNames = [breakerStateCount]string{"off", "closed", "half_open", "open"}

// BreakerStates lists all states, in a fixed order.
func BreakerStates() []BreakerState {
	return []BreakerState{StateOff, StateClosed, StateHalfOpen, StateOpen}
}

// String returns the state's name: off, closed, half_open or open.
func (s BreakerState) String() string { return breakerStateNames[s] }

func stateOf(s gobreaker.State) BreakerState {
	switch s {
	case gobreaker.StateOpen:
		return StateOpen
	case gobreaker.StateHalfOpen:
		return StateHalfOpen
	}
	return StateClosed
}

// breaker adds to gobreaker's two-step form what it lacks: a state that can be
// read without a lock, an end of the cool-down that does not wait for the next
// request, probes that cannot hang, and callbacks outside of its mutex.
//
// gobreaker keeps its state private and its times fixed, so a breaker is not
// changed: a pool with other breaker settings gets a new one.
type breaker struct {
	settings BreakerSettings // with defaults filled in
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	changes  *transitions // changes of the state, for the pool
	forced   bool         // open by hand: there is nothing but state and settings

	state    atomic.Uint32 // BreakerState
	probing  atomic.Int32  // probes that have not reported
	tripping atomic.Bool   // trip on the next failure, tell nobody
	era      atomic.Uint32 // how often the state has changed
	row      row

	mu      sync.Mutex
	opened  time.Time   // last time that it tripped
	coolOff *time.Timer // ends the cool-down
	closed  bool
}

func newBreaker(name string, s BreakerSettings, changes *transitions) *breaker {
	b := &breaker{settings: s, changes: changes}
	b.state.Store(uint32(StateClosed))
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          name,
		MaxRequests:   uint32(s.Probes),
		Interval:      s.Window,
		BucketPeriod:  s.Window / windowBuckets,
		Timeout:       s.CoolDown,
		ReadyToTrip:   b.readyToTrip,
		OnStateChange: b.noted,
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
	return b
}

// windowBuckets is how finely the window rolls.
const windowBuckets = 10

// State returns the state without asking gobreaker, which would lock.
func (b *breaker) State() BreakerState { return BreakerState(b.state.Load()) }

// refuses reports whether a newcomer would be refused now. A half-open breaker lets in
// one for each probe that is to be made; the callers in the gate's queue are the next
// probes. It is cheap.
func (b *breaker) rejects(g *gate) bool {
	switch b.State() {
	case StateOpen:
		return true
	case StateHalfOpen:
		return int(b.probing.Load()) >= b.settings.Probes || b.probes()+g.waiting() >= b.settings.Probes
	}
	return false
}

// probes counts those that go on and those that have succeeded.
func (b *breaker) probes() int {
	c := b.two.Counts()
	return int(c.Requests) - int(c.TotalExclusions)
}

// allow asks for one run, which has to tell its outcome to the hearing.
func (b *breaker) allow(h *hearing) bool {
	if b.forced {
		return false
	}
	era := b.era.Load() // before: no result counts for a later era
	done, err := b.two.Allow()
	if err == nil {
		*h = hearing{breaker: b, settle: done, era: era}
		if b.State() == StateHalfOpen {
			h.settle, h.probe = b.probe(done), true
		}
	}
	b.changes.notify()
	return err == nil
}

// probe makes sure that the outcome of a probe comes in time: one that hangs
// would leave the breaker half-open for ever.
func (b *breaker) probe(done func(error)) func(error) {
	b.probing.Add(1)
	var once sync.Once
	settle := func(err error) {
		once.Do(func() {
			b.probing.Add(-1)
			done(err)
		})
	}
	late := time.AfterFunc(b.settings.ProbeTimeout, func() {
		settle(errFailure)
		b.changes.notify()
	})
	return func(err error) {
		late.Stop()
		settle(err)
	}
}

// readyToTrip is called by gobreaker after each failure, under its mutex.
func (b *breaker) readyToTrip(c gobreaker.Counts) bool {
	if b.tripping.Load() || b.row.ready() {
		return true
	}
	s := b.settings
	if s.ConsecutiveFailures > 0 && int(c.ConsecutiveFailures) >= s.ConsecutiveFailures {
		return true
	}
	results := c.TotalSuccesses + c.TotalFailures
	return s.FailureRatio > 0 && int(results) >= s.MinRequests &&
		float64(c.TotalFailures) >= s.FailureRatio*float64(results)
}

// noted is called by gobreaker under its mutex: it must not call back. A breaker
// that was closed keeps its state: what its late runs say concerns nobody.
func (b *breaker) noted(_ string, from, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.era.Add(1)
	b.row.end()
	b.state.Store(uint32(stateOf(to)))
	if !b.tripping.Load() {
		b.changes.add(transition{from: stateOf(from), to: stateOf(to)})
	}
	if to != gobreaker.StateOpen {
		return
	}
	b.opened = time.Now()
	// A nanosecond more, since gobreaker waits until the time has passed.
	b.coolOff = time.AfterFunc(b.settings.CoolDown+1, b.endCoolDown)
}

func (b *breaker) endCoolDown() {
	b.two.State() // moves it to half-open
	b.changes.notify()
}

// startTripped opens a new breaker that takes the place of an open one. Nobody
// is told, since for everybody else it has been open all along.
func (b *breaker) startTripped() {
	b.tripping.Store(true)
	defer b.tripping.Store(false)
	b.fail()
}

// fail books a failure of this moment.
func (b *breaker) fail() {
	if done, err := b.two.Allow(); err == nil {
		done(errFailure)
	}
}

// restOfCoolDown is the rest of the cool-down, or all of it while nothing ends it.
func (b *breaker) restOfCoolDown() time.Duration {
	if b.forced {
		return b.settings.CoolDown
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings.CoolDown - time.Since(b.opened)
}

// close stops the breaker's timer and keeps its state as it is. Timers of
// probes end with their runs.
func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.coolOff != nil {
		b.coolOff.Stop()
	}
}
