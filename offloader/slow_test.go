package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// slowly trips when half of at least four results are slow: their responses begin after
// more than two seconds.
func slowly(s *offloader.Settings) {
	s.Concurrency = 10
	s.Breaker = &offloader.BreakerSettings{
		SlowRatio: 0.5, SlowAfter: 2 * second, MinRequests: 4, CoolDown: 10 * second, Probes: 1,
	}
}

func TestSlowRuns(t *testing.T) {
	t.Parallel()
	play(t, "half of the runs begin late", slowly, func(s *stage) {
		s.arrivals(2)[0].release(offloader.Success)
		s.came[1].release(offloader.Success)
		slow := s.arrivals(2)
		s.pass(2*second + 1)
		slow[0].begins()
		s.wantBreaker(offloader.StateClosed)
		slow[1].begins()
		s.wantBreaker(offloader.StateClosed) // two results and two that are slow: no result yet
		slow[0].release(offloader.Success)
		slow[1].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
		last := s.arrive()
		s.pass(3 * second)
		last.release(offloader.Success)
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "a run is as slow as the time to its beginning", slowly, func(s *stage) {
		for _, c := range s.arrivals(8) {
			c.begins()
		}
		s.pass(time.Minute)
		for _, c := range s.came {
			c.release(offloader.Success)
		}
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "one counts once", slowly, func(s *stage) {
		c := s.arrivals(7)
		for _, c := range c[1:] {
			c.release(offloader.Success)
		}
		s.pass(3 * second)
		c[0].begins()
		c[0].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "timeouts are slow, runs whose client left are not counted", slowly, func(s *stage) {
		left := s.arrivals(6)
		s.pass(3 * second)
		for _, c := range left {
			c.release(offloader.Excluded)
		}
		s.wantBreaker(offloader.StateClosed)
		late := s.arrivals(4)
		s.pass(3 * second)
		for _, c := range late {
			c.timesOut()
		}
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "slow runs leave the window", func(s *offloader.Settings) {
		slowly(s)
		s.Breaker.Window = 10 * second
	}, func(s *stage) {
		for range 3 {
			s.run(3*second, offloader.Success)
		}
		s.pass(12 * second)
		for range 3 {
			s.run(0, offloader.Success)
		}
		s.run(3*second, offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a slow probe has failed", func(s *offloader.Settings) {
		slowly(s)
		s.Breaker.ConsecutiveFailures = 1
	}, func(s *stage) {
		s.trip()
		s.pass(10*second + 1)
		probe := s.arrive()
		s.pass(2*second + 1)
		probe.begins()
		s.wantBreaker(offloader.StateOpen)
		s.pass(10*second + 1)
		s.arrive().begins()
		s.wantBreaker(offloader.StateClosed)
	})
}
