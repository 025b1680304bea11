package offloader_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// crowd are callers that run as soon as they may, each for its time.
type crowd struct {
	s   *stage
	all sync.WaitGroup

	came int

	mu    sync.Mutex
	waits map[string][]time.Duration // guarded by mu; by the state of the caller
}

func newCrowd(s *stage) *crowd { return &crowd{s: s, waits: map[string][]time.Duration{}} }

// come adds n callers with runs of that length.
func (c *crowd) come(n int, run time.Duration) {
	for range n {
		c.came++
		c.all.Go(func() {
			came := time.Now()
			permit, err := c.s.pool.Acquire(context.Background())
			c.mu.Lock()
			c.waits[word(err)] = append(c.waits[word(err)], time.Since(came))
			c.mu.Unlock()
			if err == nil {
				<-time.After(run)
				permit.Release(offloader.Success)
			}
		})
		synctest.Wait()
	}
}

// every lets a caller come again and again.
func (c *crowd) every(gap, during, run time.Duration) {
	for began := time.Now(); time.Since(began) < during; {
		c.come(1, run)
		<-time.After(gap)
	}
}

// wantServed checks that all callers were served.
func (c *crowd) wantServed() {
	c.s.t.Helper()
	c.all.Wait()
	for what, waits := range c.take() {
		if what != "admitted" {
			c.s.t.Errorf("of %d callers %d: %s", c.came, len(waits), what)
		}
	}
}

// take returns how long the callers that have their answer have waited, and forgets it.
func (c *crowd) take() map[string][]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waits
	c.waits = map[string][]time.Duration{}
	return all
}

// Past runs reject no caller.
func TestPredictionsAreNotPoisoned(t *testing.T) {
	t.Parallel()
	play(t, "by streams", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 2, 100, 4*second
	}, func(s *stage) {
		c := newCrowd(s)
		for range 2 {
			c.come(2, 6*second)
			s.pass(7 * second)
		}
		for range 3 {
			c.come(20, 100*time.Millisecond)
			s.pass(2 * second)
		}
		c.wantServed()
	})
	play(t, "by streams that hold most of the permits", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 8, 100, 10*second
	}, func(s *stage) {
		c := newCrowd(s)
		c.come(7, time.Minute)
		c.come(90, 100*time.Millisecond)
		s.pass(time.Minute)
		c.come(100, 100*time.Millisecond)
		c.wantServed()
	})
	play(t, "by a stall that ten thousand wait for", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 8, 10_000, 10*second
	}, func(s *stage) {
		c := newCrowd(s)
		for range 100 {
			c.come(8, 560*time.Microsecond)
			s.pass(time.Millisecond)
		}
		c.come(8, 5*second)
		c.come(10_000, 560*time.Microsecond)
		c.wantServed()
	})
	for _, long := range []time.Duration{time.Minute, 10 * time.Minute, 24 * time.Hour} {
		play(t, "by one run of "+long.String(), func(s *offloader.Settings) {
			s.Concurrency, s.Queue, s.MaxWait = 8, 100, 10*second
		}, func(s *stage) {
			c := newCrowd(s)
			c.every(5*time.Millisecond, second, 10*time.Millisecond)
			c.come(1, long)
			s.pass(long)
			for range 5 {
				c.come(60, 10*time.Millisecond)
				s.pass(150 * time.Millisecond)
			}
			c.wantServed()
		})
	}
	play(t, "by a cold start", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 8, 100, 16*second
	}, func(s *stage) {
		c := newCrowd(s)
		c.come(8, 10*second)
		c.come(100, 100*time.Millisecond)
		c.wantServed()
	})
	play(t, "by a stall in a busy time, which leaves a queue that can be served in order", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 8, 1000, 10*second
	}, func(s *stage) {
		c := newCrowd(s)
		c.every(14*time.Millisecond, 5*second, 100*time.Millisecond)
		c.come(8, 5*second)
		c.every(14*time.Millisecond, 40*second, 100*time.Millisecond)
		c.wantServed()
	})
}

// A lasting overload is shed: the served are served at once, and most others are rejected
// long before the longest wait is over.
func TestOverloadIsShed(t *testing.T) {
	t.Parallel()
	const run, maxWait = 50 * time.Millisecond, 500 * time.Millisecond
	for _, factor := range []int{2, 5} {
		play(t, fmt.Sprintf("%d times the work", factor), func(s *offloader.Settings) {
			s.Concurrency, s.Queue, s.MaxWait = 8, 64, maxWait
		}, func(s *stage) {
			c := newCrowd(s)
			c.every(run/8/time.Duration(factor), 2*second, run)
			c.take() // the steady part counts
			c.every(run/8/time.Duration(factor), 10*second, run)
			all := c.take()
			c.all.Wait()
			for what, waits := range all {
				slices.Sort(waits)
				s.t.Logf("%d times the work: %s %d, median wait %s, longest %s", factor, what, len(waits), waits[len(waits)/2], waits[len(waits)-1])
			}
			served := all["admitted"]
			if len(served) < 10*160-8 {
				s.t.Fatalf("%d served, of 1600", len(served))
			}
			if got := served[len(served)*99/100]; got > run/2 {
				s.t.Errorf("99 %% of the served waited for up to %s", got)
			}
			if got := len(all["wait_timeout"]); got > 0 {
				s.t.Errorf("%d waited in vain until the end", got)
			}
		})
	}
}

// While no permit comes free there is no evidence, so no caller is rejected by prediction.
func TestNothingIsPredictedInAStall(t *testing.T) {
	t.Parallel()
	play(t, "not by what was before", sixteenSeconds, func(s *stage) {
		busy(s)
		for _, c := range s.arrivals(6) {
			defer c.wantAnswer("wait_timeout", 16*second)
		}
		s.at(time.Minute)
	})
	play(t, "not by a run that took longer than the longest wait", sixteenSeconds, func(s *stage) {
		s.learn(17 * second)
		holder := s.arrive()
		waiter := s.arrive()
		s.pass(10 * second)
		holder.release(offloader.Success)
		s.want([]*caller{waiter}, "admitted")
	})
	play(t, "not by the one long run that ends", sixteenSeconds, func(s *stage) {
		s.run(0, offloader.Success)
		holder := s.arrive()
		six := s.arrivals(6)
		s.pass(10 * second)
		holder.release(offloader.Success)
		for i := range six {
			s.pass(second)
			for _, c := range six {
				if c.state() == "admitted" && !c.finished {
					c.release(offloader.Success)
				}
			}
			if i == 5 {
				s.want(six, "admitted admitted admitted admitted admitted admitted")
			}
		}
	})
}

// Permits that a pool's predecessor holds count as taken.
func TestPredictionsAfterASuccession(t *testing.T) {
	t.Parallel()
	const rounds = 3 * 8 // one that is not measured, two that are
	// next lets the heir's queue be full and a run end after that time.
	next := func(s *stage, heir *offloader.Pool, run *caller, after time.Duration) {
		for heir.Snapshot().Waiting < 10 {
			s.arriveIn(heir, nil)
		}
		s.pass(after)
		run.release(offloader.Success)
	}
	wantMeanRun := func(s *stage, heir *offloader.Pool, want time.Duration) {
		s.t.Helper()
		if got := heir.Snapshot(); got.TypicalRun != want || got.Waiting == 0 {
			s.t.Errorf("%d wait, runs take %s, want %s", got.Waiting, got.TypicalRun, want)
		}
	}
	running := func(s *stage) *caller {
		for _, c := range s.came[1:] {
			if c.state() == "admitted" && !c.finished {
				return c
			}
		}
		s.t.Fatal("no run goes on")
		return nil
	}
	play(t, "one that does not come back makes the others half as fast", two, func(s *stage) {
		s.arrive()
		heir := s.heir(s.pool, 2)
		s.arriveIn(heir, nil)
		for range rounds {
			next(s, heir, running(s), second)
		}
		wantMeanRun(s, heir, 2*second)
	})
	play(t, "one that comes back has served a caller", nil, func(s *stage) {
		heir := s.heir(s.pool, 1)
		s.arriveIn(heir, nil).release(offloader.Success)
		s.arriveIn(heir, nil)
		for range rounds / 2 {
			late := s.arrive()
			next(s, heir, running(s), second)
			next(s, heir, late, 3*second)
		}
		wantMeanRun(s, heir, 2*second)
	})
}
