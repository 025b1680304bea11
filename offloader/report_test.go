package offloader_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// timesOut adds a caller whose run times out: the run is reported and abandoned, and keeps
// its permit.
func (s *stage) timesOut() *caller {
	s.t.Helper()
	c := s.arrive()
	c.timesOut()
	return c
}

func (c *caller) timesOut() {
	c.s.t.Helper()
	if got := c.state(); got != "admitted" {
		c.s.t.Fatalf("a caller whose run is to time out is %s", got)
	}
	c.permit.ReportTimeout()
	c.permit.Abandon()
	synctest.Wait()
}

func TestReportedOutcomes(t *testing.T) {
	t.Parallel()
	play(t, "the breaker trips while the run keeps its permit", fragile, func(s *stage) {
		c := s.arrive()
		c.permit.Report(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		s.wantGauges("1 of 1 running, 0 waiting")
		if got := s.pool.Snapshot().Ended[offloader.Failure]; got != 0 {
			s.t.Errorf("%d runs have ended with failure before any release", got)
		}
		c.release(offloader.Failure)
		s.wantGauges("0 of 1 running, 0 waiting")
	})
	play(t, "only the first report counts, for the breaker and for the totals", func(s *offloader.Settings) {
		s.Breaker = inARow(2)
	}, func(s *stage) {
		c := s.arrive()
		c.permit.Report(offloader.Failure)
		c.permit.Report(offloader.Failure)
		c.permit.ReportTimeout()
		c.release(offloader.Failure)
		c.permit.Report(offloader.Failure)
		s.wantBreaker(offloader.StateClosed)
		c = s.arrive()
		c.permit.Report(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		c.release(offloader.Success)
		if got := s.pool.Snapshot().Ended; got[offloader.Failure] != 2 || got[offloader.Success] != 0 {
			s.t.Errorf("ended: %v", got)
		}
	})
	play(t, "a failure at the release after a reported success says nothing", fragile, func(s *stage) {
		c := s.arrive()
		c.permit.Report(offloader.Success)
		c.release(offloader.Failure)
		s.wantBreaker(offloader.StateClosed)
		if got := s.pool.Snapshot().Ended; got[offloader.Success] != 1 || got[offloader.Failure] != 0 {
			s.t.Errorf("ended: %v", got)
		}
	})
	play(t, "a report with a permit that was released concerns no other run", fragile, func(s *stage) {
		stale := s.arrive()
		stale.release(offloader.Success)
		c := s.arrive() // reuses the record of that permit
		stale.permit.Report(offloader.Failure)
		stale.permit.ReportTimeout()
		stale.permit.Began()
		stale.permit.Untimed()
		s.wantBreaker(offloader.StateClosed)
		c.release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "many reports and releases at once count one outcome", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 0, inARow(1_000)
	}, func(s *stage) {
		for range 200 {
			c := s.arrive()
			c.finished = true
			for range 2 {
				go c.permit.Report(offloader.Failure)
				go c.permit.Began()
				go c.permit.ReportTimeout()
				go c.permit.Release(offloader.Success)
			}
			synctest.Wait()
		}
		got := s.pool.Snapshot()
		if n := got.Ended[offloader.Success] + got.Ended[offloader.Failure]; n != 200 || got.Running != 0 {
			s.t.Errorf("%d of 200 have ended: %+v", n, got)
		}
	})
}

func TestRowsOfTimeouts(t *testing.T) {
	t.Parallel()
	many := func(concurrency int) func(*offloader.Settings) {
		return func(s *offloader.Settings) { s.Concurrency, s.Breaker = concurrency, defaultBreaker() }
	}
	for concurrency, want := range map[int]int{4: 4, 8: 8, 3: 3} {
		play(t, "as many as there are permits trip", many(concurrency), func(s *stage) {
			for range want - 1 {
				s.timesOut()
			}
			s.wantBreaker(offloader.StateClosed)
			waiter := s.arrive() // gets the last permit
			last := s.arrive()
			waiter.timesOut()
			s.wantBreaker(offloader.StateOpen)
			last.wantAnswer("breaker_open", 0)
			if got := s.pool.Snapshot(); got.Abandoned != want || got.Running != want {
				s.t.Errorf("%+v", got)
			}
		})
	}
	for _, concurrency := range []int{1, 2} {
		play(t, "at least three are needed", many(concurrency), func(s *stage) {
			for range 2 {
				s.timesOut().release(offloader.Failure)
				s.wantBreaker(offloader.StateClosed)
			}
			s.timesOut()
			s.wantBreaker(offloader.StateOpen)
		})
	}
	play(t, "in however long a time", many(1), func(s *stage) {
		for range 3 {
			s.wantBreaker(offloader.StateClosed)
			s.timesOut().release(offloader.Failure)
			s.pass(time.Hour)
		}
		s.wantBreaker(offloader.StateHalfOpen)
	})
	for what, between := range map[string]struct {
		act  func(s *stage, c *caller)
		ends bool
	}{
		"a success":          {func(s *stage, c *caller) { c.release(offloader.Success) }, true},
		"a failure":          {func(s *stage, c *caller) { c.release(offloader.Failure) }, true},
		"a reported success": {func(s *stage, c *caller) { c.permit.Report(offloader.Success) }, true},
		"a good head":        {func(s *stage, c *caller) { c.permit.Began() }, true},
		"an excluded run":    {func(s *stage, c *caller) { c.release(offloader.Excluded) }, false},
		"an abandoned run":   {func(s *stage, c *caller) { c.permit.Abandon() }, false},
		"a cut answer that began before": {func(s *stage, c *caller) {
			s.wantBreaker(offloader.StateClosed)
			c.permit.ReportTimeout()
		}, false},
	} {
		play(t, what+" between them", many(6), func(s *stage) {
			other := s.arrive()
			if what == "a cut answer that began before" {
				other.permit.Began()
			}
			for range 5 {
				s.timesOut().release(offloader.Failure)
			}
			between.act(s, other)
			s.timesOut().release(offloader.Failure)
			if got := s.pool.Snapshot().Breaker == offloader.StateOpen; got == between.ends {
				s.t.Errorf("tripped: %v", got)
			}
		})
	}
	play(t, "answers that take too long are failures like others", many(3), func(s *stage) {
		for range 3 {
			for _, c := range s.arrivals(3) {
				c.permit.Began()
				s.pass(time.Minute)
			}
			for _, c := range s.came[len(s.came)-3:] {
				c.timesOut()
				c.release(offloader.Failure)
			}
		}
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "the concurrency in force counts", many(8), func(s *stage) {
		for range 3 {
			s.timesOut().release(offloader.Failure)
		}
		s.override(func(o *offloader.Override) { n := 4; o.Concurrency = &n })
		s.wantBreaker(offloader.StateClosed)
		s.timesOut().release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "more permits need more of them", many(2), func(s *stage) {
		s.configure(func(s *offloader.Settings) { s.Concurrency = 5 })
		for range 4 {
			s.timesOut().release(offloader.Failure)
		}
		s.wantBreaker(offloader.StateClosed)
		s.timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "without a limit as many as the ratio rule asks for", many(0), func(s *stage) {
		for range offloader.DefaultMinRequests - 1 {
			s.timesOut().release(offloader.Failure)
			s.pass(10 * time.Second) // too slow for the ratio rule
		}
		s.wantBreaker(offloader.StateClosed)
		s.timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "without a limit and a ratio they are failures like others", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 0, inARow(30)
		s.Breaker.MinRequests = 5
	}, func(s *stage) {
		for range 29 {
			s.timesOut().release(offloader.Failure)
		}
		s.wantBreaker(offloader.StateClosed)
		s.timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "a pool without a breaker counts none", func(s *offloader.Settings) { s.Concurrency = 3 }, func(s *stage) {
		for range 30 {
			s.timesOut().release(offloader.Failure)
		}
		s.wantBreaker(offloader.StateOff)
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "one that is forced closed counts none, and begins a new row later", many(3), func(s *stage) {
		s.timesOut().release(offloader.Failure)
		s.timesOut().release(offloader.Failure)
		s.pool.ForceBreaker(offloader.BreakerForcedClosed)
		for range 30 {
			s.timesOut().release(offloader.Failure)
		}
		s.pool.ForceBreaker(offloader.BreakerAuto)
		s.timesOut().release(offloader.Failure)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a timeout of a run from before the breaker tripped says nothing", many(3), func(s *stage) {
		old := s.arrivals(2)
		for range 3 {
			s.timesOut().release(offloader.Failure)
		}
		s.pass(10*second + 1)
		s.outcomes("s")
		s.timesOut().release(offloader.Failure)
		old[0].timesOut()
		old[1].timesOut()
		s.timesOut().release(offloader.Failure)
		s.wantBreaker(offloader.StateClosed)
		s.timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "after closing a row begins anew", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 6, byRatio()
	}, func(s *stage) {
		for range 4 {
			s.timesOut().release(offloader.Failure)
		}
		s.pass(10*second + 1)
		s.arrive().begins()
		s.wantBreaker(offloader.StateClosed)
		s.timesOut().release(offloader.Failure)
		s.timesOut().release(offloader.Failure)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a beginning that is said again ends no other row", many(4), func(s *stage) {
		c := s.arrive()
		c.begins()
		for range 3 {
			s.timesOut().release(offloader.Failure)
		}
		c.begins()
		s.timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "a timeout counts when it happens, however long the run was", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 10, byRatio()
		s.Breaker.Window = 10 * second
	}, func(s *stage) {
		all := s.arrivals(4)
		s.pass(time.Minute)
		for _, c := range all[:3] {
			c.timesOut()
			s.wantBreaker(offloader.StateClosed)
		}
		all[3].timesOut()
		s.wantBreaker(offloader.StateOpen)
	})
}

func TestUntimedRuns(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		end     func(*caller)
		teaches bool
	}{
		"a run":           {func(c *caller) { c.permit.Release(offloader.Success) }, true},
		"a reported run":  {func(c *caller) { c.permit.Report(offloader.Success); c.permit.Release(offloader.Failure) }, true},
		"an untimed run":  {func(c *caller) { c.permit.Untimed(); c.permit.Release(offloader.Success) }, false},
		"an abandoned":    {func(c *caller) { c.permit.Abandon(); c.permit.Release(offloader.Success) }, false},
		"a cancelled run": {func(c *caller) { c.permit.ReleaseCancelled(offloader.Failure) }, false},
		"an upgrade":      {func(c *caller) { c.permit.Detach(); c.s.pool.EndDetached() }, false},
	} {
		play(t, what, nil, func(s *stage) {
			for range 2 { // the later ones reuse the record of the first
				s.learn(second)
				for range 4 { // more than half of the runs
					c := s.arrive()
					s.pass(time.Hour)
					c.finished = true
					test.end(c)
				}
				got := s.pool.Snapshot().TypicalRun
				if test.teaches != (got > time.Minute) {
					s.t.Errorf("the mean run is %s", got)
				}
			}
		})
	}
}
