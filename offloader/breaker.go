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
	// StateHalfOpen: probes test whether the backend has recovered.
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

// breaker adds to gobreaker's two-step form: a state that is read without a lock, an
// end of the cool-down that does not wait for the next call, probes that cannot hang,
// and callbacks outside of its mutex.
//
// gobreaker keeps its state private and its times fixed, so a breaker is never changed:
// a pool with other breaker settings gets a new one.
type breaker struct {
	settings BreakerSettings // with defaults filled in
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	changes  *transitions // collects changes of the state for the pool
	forced   bool         // open by ForceBreaker: only state and settings are set

	state    atomic.Uint32 // BreakerState
	probing  atomic.Int32  // probes without a result
	tripping atomic.Bool   // trip on the next failure, without an observer
	era      atomic.Uint32 // number of changes of the state
	row      row

	mu      sync.Mutex
	opened  time.Time   // the last time that it tripped
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
		OnStateChange: b.stateChanged,
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
	return b
}

// windowBuckets is the resolution of the rolling window.
const windowBuckets = 10

// State returns the state without gobreaker, which would lock.
func (b *breaker) State() BreakerState { return BreakerState(b.state.Load()) }

// rejects reports whether a newcomer would be rejected now. A half-open breaker admits
// one caller for each probe that is to be made; the callers in the gate's queue are the
// next probes. It is cheap.
func (b *breaker) rejects(g *gate) bool {
	switch b.State() {
	case StateOpen:
		return true
	case StateHalfOpen:
		return int(b.probing.Load()) >= b.settings.Probes || b.probes()+g.waiting() >= b.settings.Probes
	}
	return false
}

// probes counts the running and the successful ones.
func (b *breaker) probes() int {
	c := b.two.Counts()
	return int(c.Requests) - int(c.TotalExclusions)
}

// allow asks for one run, whose outcome the reporter has to report.
func (b *breaker) allow(r *reporter) bool {
	if b.forced {
		return false
	}
	era := b.era.Load() // before Allow: no result counts for a later era
	done, err := b.two.Allow()
	if err == nil {
		*r = reporter{breaker: b, settle: done, era: era}
		if b.State() == StateHalfOpen {
			r.settle, r.probe = b.probe(done), true
		}
	}
	b.changes.notify()
	return err == nil
}

// probe makes sure that the result of a probe comes in time: a probe without an end would
// keep the breaker half-open.
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

// stateChanged is called by gobreaker under its mutex: it must not call back. A closed
// breaker keeps its state, whatever its late runs report.
func (b *breaker) stateChanged(_ string, from, to gobreaker.State) {
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
	// One nanosecond more, since gobreaker waits until the time has passed.
	b.coolOff = time.AfterFunc(b.settings.CoolDown+1, b.endCoolDown)
}

func (b *breaker) endCoolDown() {
	b.two.State() // moves it to half-open
	b.changes.notify()
}

// startTripped opens a new breaker that replaces an open one. The observer is not
// called, since the pool has been open all along.
func (b *breaker) startTripped() {
	b.tripping.Store(true)
	defer b.tripping.Store(false)
	b.fail()
}

// fail books a failure at this moment.
func (b *breaker) fail() {
	if done, err := b.two.Allow(); err == nil {
		done(errFailure)
	}
}

// restOfCoolDown is the rest of the cool-down, or all of it for a forced breaker.
func (b *breaker) restOfCoolDown() time.Duration {
	if b.forced {
		return b.settings.CoolDown
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings.CoolDown - time.Since(b.opened)
}

// close stops the breaker's timer and keeps its state. Timers of probes end with their
// runs.
func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.coolOff != nil {
		b.coolOff.Stop()
	}
}
