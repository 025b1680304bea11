package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// breakerEach gives each of the upstreams two permits and a breaker that trips after two
// failures.
func breakerEach(s *offloader.Settings) {
	s.Concurrency, s.UpstreamConcurrency = 0, 2
	s.Breaker = inARow(2)
	s.Breaker.PerUpstream = true
}

// failAt lets runs fail at an upstream until its breaker is open.
func (s *stage) failAt(name string) {
	s.t.Helper()
	for range 2 {
		c := s.arrive()
		if at := c.bind(offloader.UpstreamChoice{Prefer: name}); at != name {
			s.t.Fatalf("bound to %q", at)
		}
		c.release(offloader.Failure)
	}
	s.wantBreakerAt(name, offloader.StateOpen)
}

func (s *stage) wantBreakerAt(name string, want offloader.BreakerState) {
	s.t.Helper()
	for _, u := range s.pool.Snapshot().Upstreams {
		if u.Name == name && u.Breaker != want {
			s.t.Errorf("%s in: the breaker of %s is %s, want %s", time.Since(s.began), name, u.Breaker, want)
		}
	}
}

func TestBreakersOfUpstreams(t *testing.T) {
	t.Parallel()
	play(t, "a bad upstream is taken out, and gets one probe after its cool-down", breakerEach, func(s *stage) {
		s.report("a", "b")
		s.failAt("a")
		s.wantBreaker(offloader.StateClosed)
		all := s.arrivals(3)
		s.want(all, "admitted admitted waiting")
		s.wantUpstreams("a 0/2 b 2/2")
		s.pass(10*second + 1)
		s.want(all, "admitted admitted admitted")
		s.want(s.arrivals(1), "waiting")
		s.wantUpstreams("a 1/2 b 2/2")
		all[2].release(offloader.Success)
		s.wantBreakerAt("a", offloader.StateClosed)
		s.arrive()
		s.wantUpstreams("a 2/2 b 2/2")
	})
	play(t, "a failed probe takes it out again", breakerEach, func(s *stage) {
		s.report("a", "b")
		s.failAt("a")
		s.arrivals(2)
		s.pass(10*second + 1)
		s.arrive().release(offloader.Failure)
		s.wantBreakerAt("a", offloader.StateOpen)
		s.want(s.arrivals(1), "waiting")
	})
	play(t, "a run that selects again has failed where it was", breakerEach, func(s *stage) {
		s.report("a", "b")
		for range 2 {
			c := s.arrive()
			c.bind(offloader.UpstreamChoice{Prefer: "a"})
			if at := c.bind(offloader.UpstreamChoice{Avoid: "a"}); at != "b" {
				t.Errorf("bound to %q", at)
			}
			c.release(offloader.Success)
		}
		s.wantBreakerAt("a", offloader.StateOpen)
		s.wantBreakerAt("b", offloader.StateClosed)
	})
	play(t, "a run that was moved before it was sent says nothing of where it was", breakerEach, func(s *stage) {
		s.report("a", "b")
		for range 3 {
			c := s.arrive()
			c.bind(offloader.UpstreamChoice{Prefer: "a"})
			c.bind(offloader.UpstreamChoice{Prefer: "b"})
			c.release(offloader.Failure)
		}
		s.wantBreakerAt("a", offloader.StateClosed)
		s.wantBreakerAt("b", offloader.StateOpen)
	})
	play(t, "with all of them out callers are rejected, but for a probe", breakerEach, func(s *stage) {
		s.report("a", "b")
		s.failAt("a")
		busy := s.arrivals(2)
		waiter := s.arrive()
		busy[0].release(offloader.Failure)
		waiter.release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		s.want(s.arrivals(1), "breaker_open")
		busy[1].release(offloader.Excluded)
		s.pass(10*second + 1)
		all := s.arrivals(3)
		s.want(all, "admitted admitted breaker_open")
		all[0].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "or wait for the time of a hold", func(s *offloader.Settings) {
		breakerEach(s)
		s.Breaker.Hold = 5 * second
	}, func(s *stage) {
		s.report("a")
		s.failAt("a")
		all := s.arrivals(2)
		s.want(all, "waiting waiting")
		if got := s.pool.Snapshot().Held; got != 2 {
			t.Errorf("%d are held", got)
		}
		s.pass(firstCoolDown)
		s.want(all, "admitted waiting")
		all[0].release(offloader.Failure)
		s.pass(5 * second)
		if got := all[1].state(); got == "waiting" {
			t.Errorf("a caller is %s after the hold", got)
		}
	})
	play(t, "one that is not available does not count", breakerEach, func(s *stage) {
		s.report("a", "-b")
		s.failAt("a")
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "other settings end the bounds", breakerEach, func(s *stage) {
		s.report("a")
		s.failAt("a")
		s.configure(func(s *offloader.Settings) { s.Breaker = nil })
		s.want(s.arrivals(2), "admitted admitted")
	})
	play(t, "an operator can close and open all", breakerEach, func(s *stage) {
		s.report("a")
		s.failAt("a")
		s.pool.ForceBreaker(offloader.BreakerForcedOpen)
		s.want(s.arrivals(1), "breaker_open")
		s.pool.ForceBreaker(offloader.BreakerForcedClosed)
		s.wantBreaker(offloader.StateClosed)
		s.arrive().release(offloader.Failure)
		s.pool.ForceBreaker(offloader.BreakerAuto)
		s.want(s.arrivals(1), "breaker_open")
	})
}

// A run that must not go where another one has failed says nothing of an upstream to which it
// was not sent.
func TestAvoidedUpstreamsDoNotFail(t *testing.T) {
	t.Parallel()
	play(t, "avoided", breakerEach, func(s *stage) {
		s.report("a", "b")
		for range 4 {
			c := s.arrive()
			at := c.bind(offloader.UpstreamChoice{Avoid: "a"})
			if at != "b" {
				t.Errorf("bound to %q", at)
			}
			c.release(offloader.Success)
		}
		s.wantBreakerAt("a", offloader.StateClosed)
	})
}
