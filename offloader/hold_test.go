package offloader_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// holding is a pool whose breaker trips after one failure, and holds callers for 20 s.
func holding(s *offloader.Settings) {
	s.Breaker = inARow(1)
	s.Breaker.Hold = 20 * second
}

// The longest first cool-down, with jitter.
const firstCoolDown = offloader.FirstCoolDown*6/5 + 1

// trip lets a run fail.
func (s *stage) trip() {
	s.t.Helper()
	s.arrive().release(offloader.Failure)
	s.wantBreaker(offloader.StateOpen)
}

func TestHold(t *testing.T) {
	t.Parallel()
	play(t, "waiters and newcomers wait while the breaker is open, and the first one is the probe", holding, func(s *stage) {
		c := s.arrive()
		waiter := s.arrive()
		c.release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		all := append([]*caller{waiter}, s.arrivals(3)...)
		s.want(all, "waiting waiting waiting waiting")
		if got := s.pool.Snapshot().Held; got != 4 {
			t.Errorf("%d are held", got)
		}
		s.pass(firstCoolDown)
		s.wantBreaker(offloader.StateHalfOpen)
		s.want(all, "admitted waiting waiting waiting")
		waiter.release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
		s.want(all, "admitted admitted waiting waiting")
		if got := s.pool.Snapshot().Held; got != 0 {
			t.Errorf("%d are held", got)
		}
	})
	play(t, "no caller is rejected early", holding, func(s *stage) {
		s.trip()
		if err := s.pool.RejectEarly(); err != nil {
			t.Error(err)
		}
		if err := s.check(guest{}); err != nil {
			t.Error(err)
		}
		if _, err := s.pool.TryAcquire(); word(err) != "queue_full" {
			t.Error(err)
		}
	})
	play(t, "a newcomer to an empty queue is the probe", holding, func(s *stage) {
		s.trip()
		s.pass(firstCoolDown)
		all := s.arrivals(2)
		s.want(all, "admitted waiting")
		all[0].begins()
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "cool-downs grow while probes fail, up to the longest", holding, func(s *stage) {
		s.trip()
		var before time.Duration
		for _, atLeast := range []time.Duration{200, 400, 800, 1600, 3200, 6400} {
			rest := s.pool.Snapshot().ProbesIn
			if atLeast *= time.Millisecond; rest < atLeast || rest > atLeast*3/2 {
				t.Errorf("a cool-down of %s after %s, want about %s", rest, before, atLeast*5/4)
			}
			before = rest
			s.pass(rest + 1)
			s.arrive().release(offloader.Failure)
		}
		if rest := s.pool.Snapshot().ProbesIn; rest < 8*second || rest > 10*second {
			t.Errorf("the longest cool-down is %s", rest)
		}
	})
	play(t, "they are short again after the breaker has closed", holding, func(s *stage) {
		s.trip()
		for range 3 {
			s.pass(s.pool.Snapshot().ProbesIn + 1)
			s.arrive().release(offloader.Failure)
		}
		s.pass(s.pool.Snapshot().ProbesIn + 1)
		s.arrive().release(offloader.Success)
		s.trip()
		if rest := s.pool.Snapshot().ProbesIn; rest > firstCoolDown {
			t.Errorf("a cool-down of %s", rest)
		}
	})
	play(t, "a cool-down that is shorter than the first one stays", func(s *offloader.Settings) {
		holding(s)
		s.Breaker.CoolDown = 10 * time.Millisecond
	}, func(s *stage) {
		s.trip()
		if rest := s.pool.Snapshot().ProbesIn; rest > 10*time.Millisecond {
			t.Errorf("a cool-down of %s", rest)
		}
	})
}

// Operators see how long callers are held, and no warm-up while probes run.
func TestSnapshotsOfAHold(t *testing.T) {
	t.Parallel()
	endsIn := func(s *stage, want time.Duration) {
		s.t.Helper()
		if got := s.pool.Snapshot(); got.HoldEndsIn != want || got.WarmingUp != 0 {
			s.t.Errorf("%s in: the hold ends in %s, want %s; %d in a warm-up", time.Since(s.began), got.HoldEndsIn, want, got.WarmingUp)
		}
	}
	play(t, "the rest of the hold", func(s *offloader.Settings) {
		holding(s)
		s.Concurrency = 8
	}, func(s *stage) {
		endsIn(s, 0)
		s.trip()
		endsIn(s, 20*second)
		s.pass(firstCoolDown)
		probe := s.arrive()
		endsIn(s, 20*second-firstCoolDown)
		probe.release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		endsIn(s, 20*second-firstCoolDown)
		s.at(20*second + 1)
		endsIn(s, 0)
	})
	play(t, "a breaker that closes ends it, and the pool warms up", func(s *offloader.Settings) {
		holding(s)
		s.Concurrency = 8
	}, func(s *stage) {
		s.trip()
		s.pass(firstCoolDown)
		s.arrive().release(offloader.Success)
		if got := s.pool.Snapshot(); got.HoldEndsIn != 0 || got.WarmingUp != 1 {
			s.t.Errorf("the hold ends in %s, %d in a warm-up", got.HoldEndsIn, got.WarmingUp)
		}
	})
	play(t, "a breaker that rejects has none", fragile, func(s *stage) {
		s.trip()
		endsIn(s, 0)
	})
}

func TestEndOfHold(t *testing.T) {
	t.Parallel()
	play(t, "after its time waiters and newcomers are rejected, and one probes", func(s *offloader.Settings) {
		holding(s)
		s.Breaker.Hold = 350 * time.Millisecond
	}, func(s *stage) {
		s.trip()
		all := s.arrivals(2)
		s.at(firstCoolDown)
		s.want(all, "admitted waiting")
		s.at(350 * time.Millisecond)
		s.want(all, "admitted breaker_open")
		s.want(s.arrivals(1), "breaker_open")
		all[0].release(offloader.Failure)
		s.want(s.arrivals(1), "breaker_open")
		s.pass(2 * second)
		s.want(s.arrivals(2), "admitted breaker_open")
	})
	play(t, "it begins anew with the next outage", func(s *offloader.Settings) {
		holding(s)
		s.Breaker.Hold = 2 * second
	}, func(s *stage) {
		s.trip()
		s.pass(firstCoolDown)
		s.arrive().release(offloader.Success)
		s.at(1900 * time.Millisecond)
		s.trip()
		c := s.arrive()
		s.at(2100 * time.Millisecond)
		if got := c.state(); got == "breaker_open" {
			t.Error("rejected by the end of the first hold")
		}
	})
	play(t, "max_wait ends a wait before", func(s *offloader.Settings) {
		holding(s)
		s.MaxWait = second
	}, func(s *stage) {
		s.trip()
		first := s.arrive() // the probe, which hangs
		c := s.arrive()
		s.pass(second)
		s.want([]*caller{first, c}, "admitted wait_timeout")
	})
	play(t, "a full queue rejects", func(s *offloader.Settings) {
		holding(s)
		s.Queue = 1
	}, func(s *stage) {
		s.trip()
		s.want(s.arrivals(2), "waiting queue_full")
	})
	play(t, "settings without a hold reject the waiters", holding, func(s *stage) {
		s.trip()
		c := s.arrive()
		s.configure(fragile)
		s.want([]*caller{c}, "breaker_open")
	})
	play(t, "settings with a hold hold newcomers", fragile, func(s *stage) {
		s.trip()
		s.configure(holding)
		c := s.arrive()
		s.want([]*caller{c}, "waiting")
		s.pass(firstCoolDown)
		s.want([]*caller{c}, "admitted")
	})
	play(t, "an operator who closes the breaker lets all waiters run", func(s *offloader.Settings) {
		holding(s)
		s.Concurrency = 3
	}, func(s *stage) {
		s.trip()
		all := s.arrivals(3)
		s.pool.ForceBreaker(offloader.BreakerForcedClosed)
		synctest.Wait()
		s.want(all, "admitted admitted admitted")
	})
	play(t, "one who opens it rejects them", holding, func(s *stage) {
		s.trip()
		c := s.arrive()
		s.pool.ForceBreaker(offloader.BreakerForcedOpen)
		synctest.Wait()
		s.want(append(s.arrivals(1), c), "breaker_open breaker_open")
	})
	play(t, "a closed pool rejects them", holding, func(s *stage) {
		s.trip()
		c := s.arrive()
		_ = s.pool.Close(ended(nil))
		synctest.Wait()
		s.want([]*caller{c}, "closed")
	})
}

// A caller whose run could not be done is served before all others, and is admitted by a
// full queue and by a pool that drains.
func TestReturningCallers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*offloader.Settings){
		"plain":   func(s *offloader.Settings) { s.Queue = 2 },
		"by key":  func(s *offloader.Settings) { s.Queue, s.Fair = 2, true },
		"classes": func(s *offloader.Settings) { s.Queue, s.Classes = 2, []offloader.Class{{Name: "normal", Weight: 1}} },
	} {
		play(t, name, change, func(s *stage) {
			c := s.arrive()
			all := s.arrivals(2)
			s.want(append(all, s.arrivals(1)...), "waiting waiting queue_full")
			back := s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Returning: true})
			s.want([]*caller{back}, "waiting")
			if got := s.pool.Waiters(); len(got) != 3 || got[0].Ticket == nil {
				t.Errorf("the queue is %+v", got)
			}
			go func() { _ = s.pool.Drain(ended(nil)) }()
			synctest.Wait()
			late := s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, Returning: true})
			c.release(offloader.Success)
			s.want([]*caller{back, late, all[0]}, "admitted waiting waiting")
			back.release(offloader.Success)
			s.want([]*caller{late, all[0]}, "admitted waiting")
		})
	}
}

// Runs in a row that a backend does not answer trip a breaker that holds callers, long
// before the rules for other failures do. An answer ends the row.
func TestUnansweredRuns(t *testing.T) {
	t.Parallel()
	byDefault := func(hold time.Duration) func(*offloader.Settings) {
		return func(s *offloader.Settings) {
			s.Breaker = defaultBreaker()
			s.Breaker.Hold = hold
		}
	}
	unanswered := func(s *stage) {
		c := s.arrive()
		c.permit.Unanswered()
		c.release(offloader.Failure)
	}
	play(t, "three in a row trip", byDefault(second), func(s *stage) {
		unanswered(s)
		unanswered(s)
		s.wantBreaker(offloader.StateClosed)
		unanswered(s)
		s.wantBreaker(offloader.StateOpen)
	})
	for name, answer := range map[string]func(*caller){
		"success":   func(c *caller) { c.release(offloader.Success) },
		"failure":   func(c *caller) { c.release(offloader.Failure) },
		"beginning": func(c *caller) { c.begins(); c.release(offloader.Excluded) },
	} {
		play(t, "not with an answer between them: "+name, byDefault(second), func(s *stage) {
			for range 3 {
				unanswered(s)
				unanswered(s)
				answer(s.arrive())
			}
			s.wantBreaker(offloader.StateClosed)
		})
	}
	play(t, "not without a hold", byDefault(0), func(s *stage) {
		for range 10 {
			unanswered(s)
		}
		s.wantBreaker(offloader.StateClosed)
	})
}

// A backend that asks for a pause gets it, up to a minute.
func TestRetryAfterOfTheBackend(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ asked, want time.Duration }{
		"longer than the cool-down":  {20 * second, 20 * second},
		"shorter than the cool-down": {5 * second, 10 * second},
		"longer than a minute":       {time.Hour, time.Minute},
		"nonsense":                   {-second, 10 * second},
	} {
		play(t, name, fragile, func(s *stage) {
			c := s.arrive()
			c.permit.RetryAfter(test.asked)
			c.release(offloader.Failure)
			if rest := s.pool.Snapshot().ProbesIn; rest != test.want {
				t.Errorf("a cool-down of %s, want %s", rest, test.want)
			}
			s.pass(test.want)
			s.wantBreaker(offloader.StateOpen)
			s.pass(1)
			s.wantBreaker(offloader.StateHalfOpen)
		})
	}
}

// Late results of runs from before the breaker opened do not shorten a cool-down.
func TestLateResultsDoNotEndTheCoolDown(t *testing.T) {
	t.Parallel()
	play(t, "late", func(s *offloader.Settings) {
		fragile(s)
		s.Concurrency = 4
	}, func(s *stage) {
		all := s.arrivals(4)
		for i, o := range []offloader.Outcome{offloader.Failure, offloader.Failure, offloader.Success, offloader.Excluded} {
			all[i].release(o)
			s.pass(second)
		}
		s.wantBreaker(offloader.StateOpen)
	})
}

// A backend is down for 3 s under half of the load that it can take. Its callers come back
// when their runs cannot be done. All of them are served within ten seconds, and the dead
// backend gets few calls.
func TestShortOutage(t *testing.T) {
	t.Parallel()
	play(t, "3 s", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 4, 1000, 10*second
		s.Breaker = defaultBreaker()
		s.Breaker.Hold = 5 * second
	}, func(s *stage) {
		down, up := s.began.Add(5*second), s.began.Add(8*second)
		var calls, served atomic.Int32
		request := func() {
			ticket := offloader.Ticket{Pool: s.pool}
			ctx, cancel := context.WithTimeout(context.Background(), 10*second)
			defer cancel()
			for {
				permit, err := ticket.Acquire(ctx)
				if err != nil {
					t.Errorf("%s in: %s", time.Since(s.began), word(err))
					return
				}
				if now := time.Now(); now.Before(down) || !now.Before(up) {
					<-time.After(40 * time.Millisecond)
					served.Add(1)
					permit.Release(offloader.Success)
					return
				}
				calls.Add(1)
				permit.Unanswered()
				permit.Untimed()
				ticket.Returning = true
				permit.Release(offloader.Failure)
			}
		}
		for range 1000 {
			go request()
			s.pass(20 * time.Millisecond)
		}
		s.pass(second)
		if served.Load() != 1000 || calls.Load() > 10 {
			t.Errorf("%d of 1000 served, %d calls to the dead backend, want all and at most 10", served.Load(), calls.Load())
		}
	})
}
