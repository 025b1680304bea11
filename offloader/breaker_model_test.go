package offloader

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// plainBreaker passes each run and each outcome to gobreaker, which counts everything.
type plainBreaker struct {
	mu       sync.Mutex // held by all methods, since probes have timers
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	settings BreakerSettings
	trips    int // timeouts in a row
	row      int
	era      int
	state    gobreaker.State
	changes  []gobreaker.State
}

func newPlainBreaker(s BreakerSettings, trips int) *plainBreaker {
	p := &plainBreaker{settings: s, trips: trips}
	p.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(s.Probes),
		Interval:     s.Window,
		BucketPeriod: s.Window / windowBuckets,
		Timeout:      s.CoolDown,
		ReadyToTrip:  p.readyToTrip,
		IsExcluded:   func(err error) bool { return err == errExcluded },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			p.era, p.row, p.state = p.era+1, 0, to
			p.changes = append(p.changes, to)
		},
	})
	return p
}

func (p *plainBreaker) readyToTrip(c gobreaker.Counts) bool {
	s, results := p.settings, c.TotalSuccesses+c.TotalFailures
	return p.row >= p.trips ||
		s.ConsecutiveFailures > 0 && int(c.ConsecutiveFailures) >= s.ConsecutiveFailures ||
		s.FailureRatio > 0 && int(results) >= s.MinRequests &&
			float64(c.TotalFailures) >= s.FailureRatio*float64(results)
}

type plainRun struct {
	settle func(error) // called once
	era    int
	probe  bool
	begun  bool
	late   *time.Timer
}

func (p *plainBreaker) allow() *plainRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	era := p.era
	done, err := p.two.Allow()
	if err != nil {
		return nil
	}
	r := &plainRun{settle: done, era: era, probe: p.state == gobreaker.StateHalfOpen}
	if r.probe {
		settled := false
		r.settle = func(err error) {
			if !settled {
				settled = true
				done(err)
			}
		}
		r.late = time.AfterFunc(p.settings.ProbeTimeout, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			r.settle(errFailure)
		})
	}
	return r
}

func (p *plainBreaker) ended(r *plainRun, o Outcome, timeout bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := r.era == p.era
	switch {
	case !current || o == Excluded:
	case !timeout:
		p.row = 0
	case !r.begun:
		p.row++
	}
	if r.late != nil {
		r.late.Stop()
	}
	if !timeout || !current || r.probe {
		r.settle(o.err())
		return
	}
	r.settle(errExcluded)
	if done, err := p.two.Allow(); err == nil {
		done(errFailure)
	}
}

func (p *plainBreaker) began(r *plainRun) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.probe:
		r.late.Stop()
		r.settle(nil)
	case r.era == p.era:
		p.row = 0
	}
	r.begun = true
}

// passed moves an open breaker to half-open, which has no timer for that.
func (p *plainBreaker) passed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == gobreaker.StateOpen {
		p.two.State()
	}
}

// breakerRig drives a breaker and a plain one with the same history, in virtual time.
type breakerRig struct {
	t       *testing.T
	rnd     *rand.Rand
	breaker *breaker
	plain   *plainBreaker
	mu      sync.Mutex
	changes []gobreaker.State // of breaker; guarded by mu
	runs    []breakerRun
	sick    int // outcomes of a hundred that are failures
	hangs   int // failures of a hundred that are timeouts
}

type breakerRun struct {
	reporter reporter
	plain    *plainRun
}

// The breaker trips, closes, rejects and probes as gobreaker does when it is called for
// each run and each outcome, on random histories. Both count the same.
func TestBreakerAgreesWithModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*modelSeeds) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			r := newBreakerRig(t, seed)
			steps := 40
			if seed%50 == 0 {
				steps = 500
			}
			for range steps {
				r.step()
			}
			r.breaker.close()
			for _, run := range r.runs {
				run.reporter.ended(Excluded, false, r.breaker.clock.now()) // stops the timers of probes
				r.plain.ended(run.plain, Excluded, false)
			}
		})
	}
}

func newBreakerRig(t *testing.T, seed uint64) *breakerRig {
	r := &breakerRig{t: t, rnd: rand.New(rand.NewPCG(seed, 5))}
	s := BreakerSettings{
		Window:   [...]time.Duration{100, 1000, 1003, 19, 9}[r.rnd.IntN(5)],
		CoolDown: time.Duration(1 + r.rnd.IntN(300)), Probes: 1 + r.rnd.IntN(3),
		ProbeTimeout: time.Duration(1 + r.rnd.IntN(100)),
	}
	if r.rnd.IntN(3) > 0 {
		s.FailureRatio, s.MinRequests = [...]float64{0.1, 0.5, 1}[r.rnd.IntN(3)], 1+r.rnd.IntN(20)
	}
	if s.FailureRatio == 0 || r.rnd.IntN(2) == 0 {
		s.ConsecutiveFailures = 1 + r.rnd.IntN(8)
	}
	trips := MinTimeouts + r.rnd.IntN(3)
	r.plain = newPlainBreaker(s, trips)
	changes := &transitions{handle: func(c transition) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, plainState(c.to))
	}}
	r.breaker = newBreaker("model", s, changes, clock{time.Now()})
	r.breaker.row.limit(trips, s)
	return r
}

func plainState(s BreakerState) gobreaker.State {
	return map[BreakerState]gobreaker.State{
		StateClosed: gobreaker.StateClosed, StateHalfOpen: gobreaker.StateHalfOpen, StateOpen: gobreaker.StateOpen,
	}[s]
}

func (r *breakerRig) step() {
	switch n := r.rnd.IntN(100); {
	case n < 3:
		r.sick, r.hangs = r.rnd.IntN(101), r.rnd.IntN(101)
	case n < 42:
		r.begin()
	case n < 52:
		r.pass()
	case n < 56:
		if i := r.any(); i >= 0 {
			run := &r.runs[i]
			run.reporter.began(r.breaker.clock.now())
			run.reporter.begun = true
			r.plain.began(run.plain)
		}
	default:
		r.end()
	}
	r.check()
}

func (r *breakerRig) begin() {
	var run breakerRun
	ok := r.breaker.allow(&run.reporter, r.breaker.clock.now())
	run.plain = r.plain.allow()
	if ok != (run.plain != nil) {
		r.t.Fatalf("a run is allowed: %v, want %v", ok, !ok)
	}
	if ok {
		r.runs = append(r.runs, run)
	}
}

func (r *breakerRig) pass() {
	d := r.rnd.IntN(1 + [...]int{2, 20, int(r.plain.settings.Window), 500}[r.rnd.IntN(4)])
	<-time.After(time.Duration(d))
	synctest.Wait()
	r.plain.passed()
}

func (r *breakerRig) any() int { return r.rnd.IntN(len(r.runs)+1) - 1 }

func (r *breakerRig) end() {
	i := r.any()
	if i < 0 {
		return
	}
	run := r.runs[i]
	r.runs = slices.Delete(r.runs, i, i+1)
	o, timeout := Success, false
	switch {
	case r.rnd.IntN(100) < r.sick:
		o, timeout = Failure, r.rnd.IntN(100) < r.hangs
	case r.rnd.IntN(5) == 0:
		o = Excluded
	}
	run.reporter.ended(o, timeout, r.breaker.clock.now())
	r.plain.ended(run.plain, o, timeout)
	if !run.plain.probe { // a probe may have reported before, and rolls no window
		r.checkCounts()
	}
}

// checkCounts compares the numbers for the rules.
func (r *breakerRig) checkCounts() {
	r.plain.mu.Lock()
	defer r.plain.mu.Unlock()
	got, want := r.breaker.two.Counts(), r.plain.two.Counts()
	if r.plain.state == gobreaker.StateClosed && r.plain.settings.Window >= windowBuckets {
		got.TotalSuccesses += uint32(r.breaker.successes())
	}
	if got.TotalSuccesses != want.TotalSuccesses || got.TotalFailures != want.TotalFailures || got.ConsecutiveFailures != want.ConsecutiveFailures {
		r.t.Fatalf("counts: %+v, want %+v", got, want)
	}
}

func (r *breakerRig) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plain.mu.Lock()
	defer r.plain.mu.Unlock()
	b := r.breaker
	if plainState(b.State()) != r.plain.state || !slices.Equal(r.changes, r.plain.changes) {
		r.t.Fatalf("it is %s after %v, want %s after %v", b.State(), r.changes, r.plain.state, r.plain.changes)
	}
	if int(b.row.length.Load()) != r.plain.row || int(b.era.Load()) != r.plain.era {
		r.t.Fatalf("a row of %d in era %d, want %d in %d", b.row.length.Load(), b.era.Load(), r.plain.row, r.plain.era)
	}
	if b.State() == StateHalfOpen && b.two.Counts() != r.plain.two.Counts() {
		r.t.Fatalf("probes: %+v, want %+v", b.two.Counts(), r.plain.two.Counts())
	}
}

// In a closed breaker nearly all runs begin and succeed without gobreaker.
func TestSuccessesSpareGobreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := neverTrips()
		defer b.close()
		for range 1000 {
			conclude(b, Success)
		}
		if c := b.two.Counts(); c.Requests != 1 || c.TotalSuccesses != 1 || b.successes() != 999 {
			t.Errorf("gobreaker counts %+v, the window %d successes", c, b.successes())
		}
	})
}

// Outcomes that are reported at the same time are all counted, once each.
func TestOutcomesAtOnce(t *testing.T) {
	t.Parallel()
	b := neverTrips()
	defer b.close()
	const goroutines, rounds = 8, 2000
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for n := range rounds {
				conclude(b, Success)
				if n%16 == i {
					conclude(b, Failure)
				}
			}
		})
	}
	all.Wait()
	conclude(b, Success)
	c := b.two.Counts()
	if got, want := int(c.TotalSuccesses)+b.successes(), goroutines*rounds+1; got != want {
		t.Errorf("%d successes, want %d", got, want)
	}
	if want := uint32(goroutines * rounds / 16); c.TotalFailures != want || c.ConsecutiveFailures != 0 {
		t.Errorf("%d failures, the last %d in a row, want %d and 0", c.TotalFailures, c.ConsecutiveFailures, want)
	}
}

// neverTrips is a breaker with a window of a thousand hours.
func neverTrips() *breaker {
	s := BreakerSettings{ConsecutiveFailures: 1 << 30, CoolDown: time.Hour, Probes: 1, Window: 1000 * time.Hour}
	return newBreaker("patient", s, &transitions{}, clock{time.Now()})
}

// conclude lets one run begin and end.
func conclude(b *breaker, o Outcome) {
	var r reporter
	if b.allow(&r, b.clock.now()) {
		r.ended(o, false, b.clock.now())
	}
}
