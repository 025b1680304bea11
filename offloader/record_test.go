package offloader_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// visited is a caller with a ticket that has its answer.
type visited struct {
	err    error
	waited time.Duration
	own    bool // it had a deadline
	rec    offloader.Record
	noted  bool
	by     offloader.Caller
}

// traffic is a crowd of callers with tickets in front of one pool.
type traffic struct {
	rnd  *rand.Rand
	pool *offloader.Pool
	all  sync.WaitGroup

	mu      sync.Mutex
	visited []visited // guarded by mu
}

// come lets one caller come, wait and run.
func (c *traffic) come(run time.Duration) {
	ctx, cancel := context.WithCancelCause(context.Background())
	own := c.rnd.IntN(20) == 0
	stop := func() {}
	if own {
		ctx, stop = context.WithTimeout(ctx, time.Duration(c.rnd.IntN(3000))*time.Millisecond)
	}
	if c.rnd.IntN(20) == 0 {
		time.AfterFunc(time.Duration(c.rnd.IntN(3000))*time.Millisecond, func() { cancel(errLeft) })
	}
	g, outcome := guestFrom(byte(c.rnd.IntN(9)), uint16(c.rnd.IntN(9))), offloader.Success
	if c.rnd.IntN(10) == 0 {
		outcome = offloader.Failure
	}
	c.all.Go(func() {
		defer stop()
		defer cancel(nil)
		t := &offloader.Ticket{Pool: c.pool, Caller: g}
		came := time.Now()
		permit, err := t.Acquire(ctx)
		v := visited{err: err, waited: time.Since(came), own: own, by: t.DisplacedBy()}
		v.rec, v.noted = t.Record()
		t.Forget()
		c.mu.Lock()
		c.visited = append(c.visited, v)
		c.mu.Unlock()
		if err == nil {
			<-time.After(run)
			permit.Release(outcome)
		}
	})
	synctest.Wait()
}

// check returns the fault of the note on a caller, empty if nothing is.
func (v *visited) check() string {
	r := &v.rec
	state := word(v.err)
	switch {
	case v.noted != (state != "admitted" || v.waited > 0 || r.Joined):
		return "it is noted although it got a permit at once, or not noted although it did not"
	case !v.noted:
		return ""
	case r.Waited != v.waited:
		return "it has waited for another time"
	case r.Reason != 0 && r.Reason.String() != state, r.Reason == 0 && state != "admitted" && state != "left":
		return "the reason is another one"
	case r.Joined && r.Ahead > r.QueueLimit+64:
		return "more were ahead than may wait"
	case r.Displaced != offloader.NotDisplaced && (r.Reason != offloader.QueueFull || !r.Joined || v.by == nil):
		return "it was displaced without a newcomer or without a place"
	}
	switch r.Reason {
	case offloader.PredictedLate:
		rest := time.Duration(float64(r.Before+1) * float64(r.Run) / float64(r.Concurrency))
		if r.Waited+r.Rest < r.MaxWait || !r.NewestFirst || r.Order != offloader.OrderAuto || r.Before != r.Waiting-1 || (rest-r.Rest).Abs() > time.Microsecond {
			return "it would not have been late"
		}
	case offloader.QueueFull:
		if r.Waiting < r.QueueLimit || r.Joined != (r.Displaced != offloader.NotDisplaced) {
			return "there was room"
		}
	case offloader.WaitTimeout:
		if !v.own && (r.MaxWait == 0 || r.Waited < r.MaxWait) {
			return "it could have waited longer"
		}
	case offloader.BreakerOpen:
		if r.Breaker != offloader.StateOpen && r.Breaker != offloader.StateHalfOpen {
			return "the breaker was closed"
		}
	}
	return ""
}

// The note on a caller agrees with its decision, in any mix of them.
func TestRecordsAgreeWithDecisions(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			s := offloader.Settings{
				Concurrency: 1 + rnd.IntN(4), Queue: rnd.IntN(40), MaxWait: time.Duration(rnd.IntN(6)) * second,
				Order: offloader.Order(rnd.IntN(4) / 3),
			}
			if rnd.IntN(4) == 0 {
				s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 2, CoolDown: second, Probes: 1}
			}
			pool, err := offloader.New("reports", s)
			if err != nil {
				t.Fatal(err)
			}
			c := &traffic{rnd: rnd, pool: pool}
			run := time.Duration(50+rnd.IntN(300)) * time.Millisecond
			for range 300 {
				c.come(run + time.Duration(rnd.IntN(50))*time.Millisecond)
				<-time.After(time.Duration(rnd.Int64N(int64(run) / int64(s.Concurrency))))
				if rnd.IntN(100) == 0 {
					if err := pool.Override(func(o *offloader.Override) { o.Concurrency = new(1 + rnd.IntN(4)) }); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.all.Wait()
			for _, v := range c.visited {
				seen[word(v.err)]++
				if wrong := v.check(); wrong != "" {
					t.Fatalf("seed %d: %s after %s: %s: %+v", seed, word(v.err), v.waited, wrong, v.rec)
				}
			}
			if err := pool.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, state := range []string{"admitted", "left", "queue_full", "wait_timeout", "predicted_late", "breaker_open"} {
		if seen[state] < 20 {
			t.Errorf("only %d callers: %s; seen %v", seen[state], state, seen)
		}
	}
}

func TestRecordsSayWhatStoodBefore(t *testing.T) {
	t.Parallel()
	play(t, "of a newcomer that is rejected", func(s *offloader.Settings) { s.Queue, s.MaxWait = 2, 16*second }, func(s *stage) {
		s.learn(2 * second)
		s.arrivals(3)
		v := s.visit(guestFrom(1, 1))
		got, ok := v.ticket.Record()
		want := offloader.Record{
			Reason: offloader.QueueFull, Before: 2, Run: 2 * second, Rest: 6 * second,
			Waiting: 2, QueueLimit: 2, MaxWait: 16 * second,
			Running: 1, Limit: 1, Concurrency: 1, Configured: 1, CappedLimit: 1,
		}
		if !ok || got != want {
			s.t.Errorf("recorded %+v, want %+v", got, want)
		}
		retry := v.told()
		if got, _ := v.ticket.Record(); got.Retry != retry {
			s.t.Errorf("the advice is %s, recorded %s", retry, got.Retry)
		}
	})
	play(t, "of a waiter that a newer one displaces", func(s *offloader.Settings) { s.Queue, s.MaxWait = 2, 16*second }, func(s *stage) {
		s.learn(8 * second)
		s.arrive()
		oldest := s.visit(guestFrom(1, 1))
		s.visit(guestFrom(2, 2))
		s.pass(second)
		newest := guestFrom(3, 3)
		s.visit(newest)
		s.want([]*caller{oldest.caller}, "queue_full")
		got, _ := oldest.ticket.Record()
		if got.Displaced != offloader.ByNewer || oldest.ticket.DisplacedBy() != offloader.Caller(newest) || got.Waited != second ||
			!got.NewestFirst || got.Before != 1 || got.Waiting != 2 || got.Ahead != 0 {
			s.t.Errorf("recorded %+v, displaced by %v", got, oldest.ticket.DisplacedBy())
		}
	})
	play(t, "of a waiter that gets its permit", nil, func(s *stage) {
		s.learn(2 * second)
		holder := s.arrive()
		s.arrive()
		v := s.visit(guestFrom(1, 1))
		s.pass(second)
		holder.release(offloader.Success)
		s.came[len(s.came)-2].release(offloader.Success)
		s.want([]*caller{v.caller}, "admitted")
		got, ok := v.ticket.Record()
		if !ok || got.Reason != 0 || got.Ahead != 1 || got.Predicted != 4*second || got.Waited != second || got.Limit != 1 {
			s.t.Errorf("recorded %+v", got)
		}
		v.ticket.Forget()
		if _, ok := v.ticket.Record(); ok {
			s.t.Error("the record is not forgotten")
		}
	})
	play(t, "not of a caller that gets one at once", nil, func(s *stage) {
		if got, ok := s.visit(guestFrom(1, 1)).ticket.Record(); ok {
			s.t.Errorf("recorded %+v", got)
		}
	})
	play(t, "of an override and a breaker", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: 10 * second, Probes: 1}
	}, func(s *stage) {
		if err := s.pool.Override(func(o *offloader.Override) { o.Concurrency = new(2) }); err != nil {
			s.t.Fatal(err)
		}
		s.run(second, offloader.Failure)
		s.pass(3 * second)
		got, _ := s.visit(guestFrom(1, 1)).ticket.Record()
		if got.Reason != offloader.BreakerOpen || got.Breaker != offloader.StateOpen || got.BreakerForced ||
			(got.ProbesIn-7*second).Abs() > time.Microsecond || got.Concurrency != 2 || got.Configured != 4 {
			s.t.Errorf("recorded %+v", got)
		}
	})
}

// The largest numbers of runs and waiters stay when they are over.
func TestMaximaStay(t *testing.T) {
	t.Parallel()
	play(t, "of runs and waiters", func(s *offloader.Settings) { s.Concurrency = 2 }, func(s *stage) {
		all := s.arrivals(5)
		for _, c := range all {
			c.release(offloader.Success)
		}
		if got := s.pool.Snapshot(); got.MostRunning != 2 || got.MostWaiting != 3 || got.Running != 0 {
			s.t.Errorf("at most %d ran and %d waited", got.MostRunning, got.MostWaiting)
		}
	})
}

// Each rejection is observed, those that the program decides on too.
func TestRejectionsAreObserved(t *testing.T) {
	t.Parallel()
	var observed []offloader.Reason
	play(t, "with their reasons", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.arrivals(3)
		_ = s.pool.Reject(spoolFull)
		want := []offloader.Reason{offloader.QueueFull, offloader.QueueFull, spoolFull}
		if len(observed) != 3 || observed[0] != want[0] || observed[1] != want[1] || observed[2] != want[2] {
			s.t.Errorf("observed %v", observed)
		}
	}, offloader.WithRejectionObserver(func(r offloader.Reason) { observed = append(observed, r) }))
}
