package offloader_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// storm is a random mix of all that can happen to a pool.
type storm struct {
	t    *testing.T
	pool *offloader.Pool
	rnd  *rand.Rand // of the main goroutine

	shared bool // callers have claims
	all    sync.WaitGroup

	sick    atomic.Bool  // the backend fails more often than not
	running atomic.Int64 // counted by the backend
	most    atomic.Int64
}

// In any case the backend never has more runs than the limit, each permit is released, and
// the gauges return to zero.
func TestGaugesReturnToZeroAfterAStorm(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		resizes, shared := seed%2 == 1, seed >= 8
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &storm{t: t, rnd: rand.New(rand.NewPCG(seed, 3)), shared: shared}
				s.rage(resizes)
			})
		})
	}
}

const stormConcurrency = 4

func (s *storm) settings() offloader.Settings {
	settings := offloader.Settings{
		Concurrency: stormConcurrency, Queue: 20, MaxWait: 2 * time.Second, Linger: 300 * time.Millisecond,
		LongestRun: 3 * time.Second,
		Breaker: &offloader.BreakerSettings{
			FailureRatio: 0.6, MinRequests: 10, ConsecutiveFailures: 8, CoolDown: second, Probes: 1, ProbeTimeout: second,
		},
	}
	if s.shared {
		settings.PerKey, settings.QueuePerKey = s.rnd.IntN(4), s.rnd.IntN(8)
		if s.rnd.IntN(3) > 0 {
			threeClasses(&settings)
		}
	}
	return settings
}

// claim is what a caller of a pool with shares claims.
func (s *storm) claim(rnd *rand.Rand) *offloader.Claim {
	if !s.shared || rnd.IntN(4) == 0 {
		return nil
	}
	return &offloader.Claim{
		Key:   []string{"", "a", "b", "c", "d"}[rnd.IntN(5)],
		Class: []string{"", "interactive", "normal", "batch"}[rnd.IntN(4)],
		Cost:  max(1, rnd.IntN(8)-4),
	}
}

func (s *storm) rage(resizes bool) {
	l := &log{t: s.t, last: offloader.StateClosed}
	l.jumps = resizes
	p, err := offloader.New("storm", s.settings(), offloader.WithBreakerObserver(l.observe))
	if err != nil {
		s.t.Fatal(err)
	}
	s.pool = p
	for i := range 2000 {
		s.sick.Store(i%500 > 350)
		<-time.After(time.Duration(s.rnd.IntN(40)) * time.Millisecond)
		rnd := rand.New(rand.NewPCG(s.rnd.Uint64(), 4))
		s.all.Go(func() { s.call(rnd) })
		if s.rnd.IntN(50) == 0 {
			s.change(resizes)
		}
	}
	s.all.Wait()
	changes := l.changes()
	if got := p.Snapshot(); got.Admitted < 300 || got.Left < 20 || len(got.Rejected) < 4 || changes < 3 {
		s.t.Errorf("not much of a storm: %+v, changes of the breaker: %d", got, changes)
	}
	if most := s.most.Load(); !resizes && most > stormConcurrency {
		s.t.Errorf("the backend saw %d runs at once", most)
	}
	<-time.After(time.Second) // lingering permits are released
	synctest.Wait()
	wantIdle(s.t, p)
	if err := p.Close(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	got := p.Snapshot()
	if ended := got.Ended[offloader.Success] + got.Ended[offloader.Failure] + got.Ended[offloader.Excluded]; ended != got.Admitted {
		s.t.Errorf("%d were admitted and %d have ended", got.Admitted, ended)
	}
}

// change does something to the pool itself.
func (s *storm) change(resizes bool) {
	switch s.rnd.IntN(4) {
	case 0:
		s.pool.Snapshot()
		s.pool.RejectEarly()
	case 1:
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(s.rnd.IntN(500))*time.Millisecond)
		defer cancel()
		s.pool.Drain(ctx)
		s.pool.Resume()
	default:
		if !resizes {
			return
		}
		settings := s.settings()
		settings.Concurrency = s.rnd.IntN(6)
		settings.Queue = s.rnd.IntN(30)
		settings.MaxWait = time.Duration(s.rnd.IntN(3)) * time.Second
		settings.Order = offloader.Order(s.rnd.IntN(2))
		settings.Linger = time.Duration(s.rnd.IntN(2)) * time.Second
		switch s.rnd.IntN(4) {
		case 0:
			settings.Breaker = nil
		case 1:
			settings.Breaker.CoolDown /= 2
		}
		if err := s.pool.Configure(settings); err != nil {
			s.t.Error(err)
		}
	}
}

// call is one caller: patient or not, with a run of any length and end.
func (s *storm) call(rnd *rand.Rand) {
	ctx, cancel := context.WithCancelCause(s.t.Context())
	defer cancel(nil)
	switch rnd.IntN(4) {
	case 0:
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(rnd.IntN(1500))*time.Millisecond)
		defer stop()
	case 1:
		after := time.AfterFunc(time.Duration(rnd.IntN(500))*time.Millisecond, func() { cancel(errLeft) })
		defer after.Stop()
	}
	if rnd.IntN(5) == 0 {
		s.do(ctx, rnd)
		return
	}
	ticket := offloader.Ticket{Pool: s.pool, Claim: s.claim(rnd), Caller: guestFrom(byte(rnd.IntN(30)), 1)}
	defer ticket.Forget()
	if rnd.IntN(10) == 0 {
		s.all.Go(func() { ticket.Cancel() })
	}
	if rnd.IntN(6) == 0 && !s.sendSlowly(rnd, &ticket) {
		return
	}
	permit, err := ticket.Acquire(ctx)
	var rejected *offloader.RejectedError
	switch {
	case errors.As(err, &rejected):
		<-time.After(ticket.NextRetry(rejected.Reason).Turn)
		return
	case err != nil:
		return
	}
	s.work(rnd)
	s.report(permit, rnd)
	if rnd.IntN(10) == 0 {
		permit.Abandon()
		<-time.After(time.Duration(rnd.IntN(3)) * time.Second)
	}
	outcome := s.outcome(rnd)
	s.running.Add(-1)
	if rnd.IntN(5) == 0 {
		permit.ReleaseCancelled(outcome)
	}
	permit.Release(outcome)
	if rnd.IntN(5) == 0 { // too late
		<-time.After(time.Duration(rnd.IntN(100)) * time.Millisecond)
		permit.Release(offloader.Failure)
		permit.Abandon()
		s.report(permit, rnd)
	}
}

// report reports on a run, at times from several goroutines at once.
func (s *storm) report(permit offloader.Permit, rnd *rand.Rand) {
	outcome := s.outcome(rnd)
	for range rnd.IntN(3) {
		say := [...]func(){
			permit.Began, permit.Untimed, permit.Began, permit.Abandon,
			func() { permit.Report(outcome) }, func() { permit.Report(offloader.Excluded) },
		}[rnd.IntN(6)]
		switch {
		case s.sick.Load() && rnd.IntN(2) == 0:
			permit.ReportTimeout()
		case rnd.IntN(2) == 0:
			s.all.Go(say)
		default:
			say()
		}
	}
}

// sendSlowly plays a caller that sends its request slowly. It reports false if the caller was
// rejected, or left meanwhile.
func (s *storm) sendSlowly(rnd *rand.Rand, ticket *offloader.Ticket) bool {
	if ticket.Announce() != nil {
		return false
	}
	<-time.After(time.Duration(rnd.IntN(100)) * time.Millisecond)
	if rnd.IntN(8) == 0 {
		ticket.Withdraw()
		return false
	}
	return true
}

func (s *storm) outcome(rnd *rand.Rand) offloader.Outcome {
	switch {
	case rnd.IntN(8) == 0:
		return offloader.Excluded
	case s.sick.Load() && rnd.IntN(16) > 0, rnd.IntN(8) == 0:
		return offloader.Failure
	}
	return offloader.Success
}

// work is a run as the backend sees it, until running is lowered again.
func (s *storm) work(rnd *rand.Rand) {
	for now := s.running.Add(1); ; {
		most := s.most.Load()
		if now <= most || s.most.CompareAndSwap(most, now) {
			break
		}
	}
	run := time.Duration(rnd.IntN(100)) * time.Millisecond
	if rnd.IntN(20) == 0 {
		run += time.Duration(rnd.IntN(2000)) * time.Millisecond
	}
	<-time.After(run)
}

// do is a caller that leaves the permit to the pool, and may panic or exit.
func (s *storm) do(ctx context.Context, rnd *rand.Rand) {
	defer func() {
		if value := recover(); value != nil && value != errLeft {
			panic(value)
		}
	}()
	s.pool.Do(ctx, func(context.Context) error {
		s.work(rnd)
		s.running.Add(-1)
		switch rnd.IntN(6) {
		case 0:
			panic(errLeft)
		case 1:
			runtime.Goexit()
		case 2:
			return errLeft
		}
		return nil
	})
}
