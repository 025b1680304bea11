package offloader_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func (c *caller) begins() {
	c.s.t.Helper()
	if got := c.state(); got != "admitted" {
		c.s.t.Fatalf("a caller whose answer is to begin is %s", got)
	}
	c.permit.Began()
	synctest.Wait()
}

func TestGoodBeginnings(t *testing.T) {
	t.Parallel()
	play(t, "a probe that streams closes the breaker at its head", func(s *offloader.Settings) {
		s.Concurrency, s.LongestRun, s.Breaker = 4, time.Minute, inARow(1)
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		stream := s.arrive()
		s.wantBreaker(offloader.StateHalfOpen)
		stream.begins()
		s.wantBreaker(offloader.StateClosed)
		s.pass(time.Hour)
		s.wantBreaker(offloader.StateClosed)
		stream.release(offloader.Failure) // cut in the middle
		s.wantBreaker(offloader.StateClosed)
		if got := s.pool.Snapshot(); got.BreakerChanged[offloader.StateOpen] != 1 || got.Ended[offloader.Failure] != 2 {
			s.t.Errorf("%+v", got)
		}
	})
	play(t, "each of several probes counts", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
		s.Breaker.Probes = 2
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		two := s.arrivals(2)
		two[0].begins()
		two[0].begins()
		s.wantBreaker(offloader.StateHalfOpen)
		two[1].begins()
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a closed breaker hears of what comes after it", fragile, func(s *stage) {
		c := s.arrive()
		c.begins()
		s.wantBreaker(offloader.StateClosed)
		c.release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "and does not count it as a success", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 9, byRatio()
	}, func(s *stage) {
		for _, c := range s.arrivals(5) {
			c.begins()
		}
		s.outcomes("ffff")
		s.wantBreaker(offloader.StateOpen)
	})
	play(t, "a run from before the breaker tripped settles no probe", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage) {
		old := s.arrive()
		s.outcomes("f")
		s.pass(10*second + 1)
		old.begins()
		s.wantBreaker(offloader.StateHalfOpen)
		s.arrive()
		old.begins()
		s.wantBreaker(offloader.StateHalfOpen)
	})
	play(t, "the ramp moves on by them, and lets waiters in", ramping, func(s *stage) {
		s.recover()
		all := s.arrivals(10)
		s.wantGauges("1 of 1 running, 9 waiting")
		all[0].begins()
		s.wantGauges("2 of 2 running, 8 waiting")
		all[1].begins()
		all[0].begins() // counts once
		all[0].release(offloader.Success)
		s.wantGauges("2 of 2 running, 7 waiting")
		all[2].begins()
		s.wantGauges("4 of 4 running, 5 waiting")
	})
	play(t, "a failure after a good beginning starts the round again", func(s *offloader.Settings) {
		ramping(s)
		s.Breaker.ConsecutiveFailures = 3
	}, func(s *stage) {
		s.outcomes("ff")
		s.recover()
		s.outcomes("s")
		two := s.arrivals(2)
		two[0].begins()
		two[0].release(offloader.Failure)
		two[1].release(offloader.Success)
		s.wantGauges("0 of 2 running, 0 waiting")
		s.outcomes("s")
		s.wantGauges("0 of 4 running, 0 waiting")
	})
	play(t, "a reported success moves the ramp, its release does not", ramping, func(s *stage) {
		s.recover()
		c := s.arrive()
		c.permit.Report(offloader.Success)
		s.wantGauges("1 of 2 running, 0 waiting")
		c.release(offloader.Success)
		s.outcomes("s")
		s.wantGauges("0 of 2 running, 0 waiting")
		s.outcomes("s")
		s.wantGauges("0 of 4 running, 0 waiting")
	})
}
