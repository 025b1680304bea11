package offloader_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// hang lets the runs of all permits exceed their time, until the breaker trips,
// and its cool-down pass. All permits are abandoned.
func (s *stage) hang() []*caller {
	s.t.Helper()
	all := s.arrivals(s.pool.Snapshot().Concurrency)
	s.pass(time.Minute)
	for _, c := range all {
		c.timesOut()
	}
	s.wantBreaker(offloader.StateOpen)
	s.pass(10*second + 1)
	s.wantBreaker(offloader.StateHalfOpen)
	return all
}

// All permits are abandoned, so that the probe has to wait for one.
func TestProbesThatWait(t *testing.T) {
	t.Parallel()
	four := func(probes int) func(*offloader.Settings) {
		return func(s *offloader.Settings) {
			s.Concurrency, s.LongestRun, s.Breaker = 4, time.Minute, defaultBreaker()
			s.Breaker.Probes = probes
		}
	}
	play(t, "one waits and gets the first permit that comes back, the others are rejected at once", four(1), func(s *stage) {
		hung := s.hang()
		all := s.arrivals(3)
		s.want(all, "waiting breaker_open breaker_open")
		if s.pool.RejectEarly() == nil {
			s.t.Error("Check says that there is room")
		}
		s.pass(3 * second)
		hung[2].release(offloader.Excluded)
		all[0].wantAnswer("admitted", 3*second)
		hung[0].release(offloader.Excluded)
		s.want(s.arrivals(2), "breaker_open breaker_open")
		all[0].begins()
		s.wantBreaker(offloader.StateClosed)
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "as many wait as may probe", four(3), func(s *stage) {
		hung := s.hang()
		all := s.arrivals(5)
		s.want(all, "waiting waiting waiting breaker_open breaker_open")
		hung[0].release(offloader.Excluded)
		s.want(s.arrivals(1), "breaker_open")
		all[0].release(offloader.Success) // its permit is for the next probe
		s.want(all[:3], "admitted admitted waiting")
		s.want(s.arrivals(1), "breaker_open")
		all[1].release(offloader.Success)
		s.wantBreaker(offloader.StateHalfOpen)
		all[2].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a probe that fails rejects the waiting ones", four(2), func(s *stage) {
		hung := s.hang()
		all := s.arrivals(2)
		hung[0].release(offloader.Excluded)
		s.want(all, "admitted waiting")
		all[0].release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		s.want(all, "admitted breaker_open")
		s.pass(10*second + 1)
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "one that hangs does so when its time is over", four(2), func(s *stage) {
		hung := s.hang()
		all := s.arrivals(2)
		hung[0].release(offloader.Excluded)
		s.pass(time.Minute + second)
		s.wantBreaker(offloader.StateOpen)
		s.want(all, "admitted breaker_open")
	})
	play(t, "a waiter that leaves makes way for the next newcomer", four(1), func(s *stage) {
		hung := s.hang()
		first := s.arrive()
		first.leave(errLeft)
		synctest.Wait()
		second := s.arrive()
		s.want([]*caller{first, second}, "left waiting")
		hung[0].release(offloader.Excluded)
		second.release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a probe waits no longer than max_wait, and the next newcomer takes its place", func(s *offloader.Settings) {
		four(1)(s)
		s.MaxWait = 5 * second
	}, func(s *stage) {
		hung := s.hang()
		first := s.arrive()
		s.pass(5 * second)
		first.wantAnswer("wait_timeout", 5*second)
		next := s.arrive()
		hung[0].release(offloader.Excluded)
		s.want([]*caller{next}, "admitted")
	})
	play(t, "without a queue they are rejected until a permit is free", func(s *offloader.Settings) {
		four(1)(s)
		s.Queue = 0
	}, func(s *stage) {
		hung := s.hang()
		s.want(s.arrivals(2), "queue_full queue_full")
		hung[0].release(offloader.Excluded)
		s.want(s.arrivals(2), "admitted breaker_open")
	})
	play(t, "a lingering permit that comes back is one too", func(s *offloader.Settings) {
		s.Linger, s.Breaker = time.Minute, inARow(1)
	}, func(s *stage) {
		c := s.arrive()
		c.finished = true
		c.permit.ReleaseCancelled(offloader.Failure)
		s.pass(10*second + 1)
		probe := s.arrive()
		s.want([]*caller{probe}, "waiting")
		s.at(time.Minute)
		s.want([]*caller{probe}, "admitted")
		probe.release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "with one permit the pool recovers as soon as that is back", func(s *offloader.Settings) {
		s.Concurrency, s.LongestRun, s.Breaker = 1, time.Minute, defaultBreaker()
	}, func(s *stage) {
		for range 3 {
			c := s.arrive()
			s.pass(time.Minute)
			c.timesOut()
			c.release(offloader.Excluded)
		}
		s.wantBreaker(offloader.StateOpen)
		s.pass(10*second + 1)
		s.outcomes("s")
		s.wantBreaker(offloader.StateClosed)
	})
}
