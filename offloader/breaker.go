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

// breaker wraps gobreaker's TwoStepCircuitBreaker and adds: a state that is read, and runs
// that begin and succeed, without a lock; a timer that ends the cool-down, which gobreaker
// does only at its next call; a timeout for probes; and callbacks outside of gobreaker's
// mutex.
//
// gobreaker keeps its state private and its times fixed, so a breaker is never changed:
// a pool with other breaker settings gets a new one.
type breaker struct {
	settings BreakerSettings // with defaults filled in
	name     string          // of its upstream, empty for the breaker of a pool
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	changes  *transitions // collects changes of the state for the pool
	clock    clock        // of the pool
	forced   bool         // open by ForceBreaker: only state and settings are set

	state    atomic.Uint32 // BreakerState
	probing  atomic.Int32  // probes without a result
	tripping atomic.Bool   // trip on the next failure, without an observer
	era      atomic.Uint32 // number of changes of the state
	row      row           // of timeouts
	lost     row           // of runs without an answer, while callers are held
	slow     slowRuns
	window   window

	notBefore atomic.Int64 // the moment of the next probe, by the backend's wish

	mu       sync.Mutex
	tripped  time.Time     // when it tripped while it was closed
	opened   time.Time     // the last time that it opened
	openings int           // since it was closed
	coolDown time.Duration // the last one
	coolOff  *time.Timer   // ends the cool-down
	closed   bool
}

func newBreaker(name string, s BreakerSettings, changes *transitions, c clock) *breaker {
	b := &breaker{settings: s, changes: changes, clock: c}
	b.state.Store(uint32(StateClosed))
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          name,
		MaxRequests:   uint32(s.Probes),
		Interval:      s.Window,
		BucketPeriod:  bucketPeriod(s.Window),
		Timeout:       1, // nanosecond: coolOff decides
		ReadyToTrip:   b.readyToTrip,
		OnStateChange: b.stateChanged,
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
	if s.Hold > 0 {
		b.lost.trips.Store(MinTimeouts)
	}
	b.window.begin(s.Window, c.now())
	b.slow.begin(s.Window)
	return b
}

// State returns the state without gobreaker, which would lock.
func (b *breaker) State() BreakerState { return BreakerState(b.state.Load()) }

// rejects reports whether the breaker rejects a newcomer now. A half-open breaker admits
// one caller for each probe that is still to be made, and callers in the queue count as
// such probes. It is cheap.
func (b *breaker) rejects(g *gate) bool {
	switch b.State() {
	case StateOpen:
		return true
	case StateHalfOpen:
		return int(b.probing.Load()) >= b.settings.Probes || b.probes()+g.waiting() >= b.settings.Probes
	}
	return false
}

// probes counts the running and the successful probes.
func (b *breaker) probes() int {
	c := b.two.Counts()
	return int(c.Requests) - int(c.TotalExclusions)
}

// allow reports whether the breaker admits a run now. If so, r has to report the outcome of
// that run. A closed breaker asks gobreaker only for the first run of each bucket of its
// window.
func (b *breaker) allow(r *reporter, now moment) bool {
	if k := b.window.at(now); k != nil {
		r.bucket = k
		return true
	}
	if b.forced {
		return false
	}
	ok := b.ask(r)
	b.changes.notify()
	return ok
}

// ask is allow with gobreaker.
func (b *breaker) ask(r *reporter) bool {
	b.window.booking.Lock()
	defer b.window.booking.Unlock()
	now := b.clock.now()
	if k := b.window.at(now); k != nil { // opened meanwhile
		r.bucket = k
		return true
	}
	if b.State() == StateOpen { // gobreaker would let it probe
		return false
	}
	era := b.era.Load() // before Allow: no result counts for a later era
	done, err := b.two.Allow()
	if err != nil {
		return false
	}
	r.bucket = &bucket{breaker: b, era: era, settle: done}
	if b.State() == StateHalfOpen {
		r.bucket.probe, r.bucket.settle = true, b.probe(done)
		return true
	}
	b.open(r.bucket, now)
	return true
}

// probe returns done for a probe, and reports a failure after ProbeTimeout: a probe without
// an end would keep the breaker half-open.
func (b *breaker) probe(done func(error)) func(error) {
	b.probing.Add(1)
	var once sync.Once
	settle := func(err error) {
		once.Do(func() {
			b.probing.Add(-1)
			b.settle(done, err)
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

// settle reports the result of a probe to gobreaker, unless the breaker is open by now:
// gobreaker would ignore the result, and begin to probe before the cool-down is over.
func (b *breaker) settle(done func(error), err error) {
	b.window.booking.Lock()
	defer b.window.booking.Unlock()
	if b.State() != StateOpen {
		done(err)
	}
}

// readyToTrip is called by gobreaker after each failure, under its mutex.
func (b *breaker) readyToTrip(c gobreaker.Counts) bool {
	if b.tripping.Load() || b.row.ready() || b.lost.ready() || b.slow.ready() {
		return true
	}
	s := b.settings
	if s.ConsecutiveFailures > 0 && int(c.ConsecutiveFailures) >= s.ConsecutiveFailures {
		return true
	}
	if s.FailureRatio == 0 {
		return false
	}
	results := int(c.TotalSuccesses) + int(c.TotalFailures) + b.successes()
	return results >= s.MinRequests && float64(c.TotalFailures) >= s.FailureRatio*float64(results)
}

// stateChanged is called by gobreaker under its mutex, so it must not call gobreaker. After
// close the breaker keeps its state, although late runs still report.
func (b *breaker) stateChanged(_ string, from, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.current.Store(nil)
	if b.closed {
		return
	}
	b.era.Add(1)
	b.row.end()
	b.lost.end()
	b.slow.end()
	b.window.began = b.clock.now()
	b.state.Store(uint32(stateOf(to)))
	if !b.tripping.Load() {
		b.changes.add(transition{from: stateOf(from), to: stateOf(to)})
	}
	switch to {
	case gobreaker.StateClosed:
		b.openings = 0
	case gobreaker.StateOpen:
		b.opens(from)
	}
}

// opens begins a cool-down. It requires b.mu.
func (b *breaker) opens(from gobreaker.State) {
	b.opened = time.Now()
	if from == gobreaker.StateClosed {
		b.tripped = b.opened
	}
	b.coolDown = b.nextCoolDown()
	b.openings++
	// One nanosecond more, since gobreaker waits until its own time has passed.
	b.coolOff = time.AfterFunc(b.coolDown+1, b.endCoolDown)
}

func (b *breaker) endCoolDown() {
	b.two.State() // moves it to half-open
	b.changes.notify()
}

// startTripped opens a new breaker that replaces an open one. The observer is not called,
// since for the pool the breaker has stayed open.
func (b *breaker) startTripped() {
	b.tripping.Store(true)
	defer b.tripping.Store(false)
	b.fail()
}

// fail books a failure at this moment.
func (b *breaker) fail() {
	b.window.booking.Lock()
	defer b.window.booking.Unlock()
	if done, err := b.two.Allow(); err == nil {
		b.window.failing()
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
	return b.coolDown - time.Since(b.opened)
}

// close stops the breaker's timer and keeps its state. Timers of probes end with their
// runs.
func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.window.current.Store(nil)
	if b.coolOff != nil {
		b.coolOff.Stop()
	}
}
