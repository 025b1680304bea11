package offloader_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// ramping is a pool of eight permits that trips after one failure.
func ramping(s *offloader.Settings) {
	s.Concurrency, s.Queue, s.Breaker = 8, 100, inARow(1)
}

// recover trips the breaker and lets a probe close it again.
func (s *stage) recover() {
	s.t.Helper()
	s.outcomes("f")
	s.pass(10*second + 1)
	s.outcomes("s")
	s.wantBreaker(offloader.StateClosed)
}

func TestRampAfterClosing(t *testing.T) {
	t.Parallel()
	play(t, "the limit doubles after each round of that many successes, and nobody is rejected", ramping, func(s *stage) {
		s.recover()
		all := s.arrivals(20)
		served := 0
		for _, want := range []string{
			"1 of 1 running, 19 waiting",
			"2 of 2 running, 17 waiting",
			"4 of 4 running, 13 waiting",
			"8 of 8 running, 5 waiting",
		} {
			s.wantGauges(want)
			for round := s.pool.Snapshot().Running; round > 0; round-- {
				all[served].release(offloader.Success)
				served++
			}
		}
		s.wantGauges("5 of 8 running, 0 waiting")
	})
	for concurrency, want := range map[int]string{
		1: "[1 1 1 1 1 1 1 1]",
		2: "[1 2 2 2 2 2 2 2]",
		5: "[1 2 2 4 4 4 4 5]",
		8: "[1 2 2 4 4 4 4 8]",
	} {
		play(t, fmt.Sprintf("with a concurrency of %d", concurrency), func(s *offloader.Settings) {
			ramping(s)
			s.Concurrency = concurrency
		}, func(s *stage) {
			s.recover()
			var got []int
			for range 8 {
				got = append(got, s.pool.Snapshot().Limit)
				s.outcomes("s")
			}
			if fmt.Sprint(got) != want {
				s.t.Errorf("limits are %v, want %s", got, want)
			}
		})
	}
	play(t, "without a limit it ends at a thousand", func(s *offloader.Settings) {
		ramping(s)
		s.Concurrency = 0
	}, func(s *stage) {
		s.recover()
		var got []int
		for {
			limit := s.pool.Snapshot().Limit
			if !slices.Contains(got, limit) {
				got = append(got, limit)
			}
			if limit == 0 || len(got) > 20 {
				break
			}
			s.quietRun(offloader.Success)
		}
		if want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 0}; !slices.Equal(got, want) {
			s.t.Errorf("limits are %v, want %v", got, want)
		}
	})
	play(t, "a failure begins the round again, an excluded run does not count", func(s *offloader.Settings) {
		ramping(s)
		s.Breaker.ConsecutiveFailures = 3
	}, func(s *stage) {
		s.outcomes("ff")
		s.recover()
		s.wantLimits("ssxfssxxss", 2, 2, 2, 2, 2, 4, 4, 4, 4, 4)
	})
	play(t, "runs from before do not count", ramping, func(s *stage) {
		old := s.arrivals(3)
		s.recover()
		for _, c := range old {
			c.release(offloader.Success)
		}
		s.wantGauges("0 of 1 running, 0 waiting")
	})
	play(t, "no waiter is late because of it", func(s *offloader.Settings) {
		ramping(s)
		s.MaxWait = 4 * second
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		s.run(second, offloader.Success)
		all := s.arrivals(9) // eight waiters in front of eight permits: one second
		if s.pool.Snapshot().NewestFirst {
			s.t.Error("newest first")
		}
		s.pass(second)
		all[0].release(offloader.Success)
		s.want(all, "admitted admitted admitted waiting waiting waiting waiting waiting waiting")
	})
	play(t, "a breaker that trips again ends it, and begins another", ramping, func(s *stage) {
		s.recover()
		s.outcomes("sss")
		s.wantGauges("0 of 4 running, 0 waiting")
		s.outcomes("f")
		s.wantGauges("0 of 8 running, 0 waiting")
		s.pass(10*second + 1)
		s.outcomes("s")
		s.wantLimits("s", 2)
	})
	play(t, "a breaker that is switched off ends it", ramping, func(s *stage) {
		s.recover()
		all := s.arrivals(3)
		s.want(all, "admitted waiting waiting")
		s.configure(func(s *offloader.Settings) { s.Breaker = nil })
		s.want(all, "admitted admitted admitted")
	})
	play(t, "other settings do not end it", ramping, func(s *stage) {
		s.recover()
		s.outcomes("s")
		s.configure(func(s *offloader.Settings) { s.Concurrency = 16 })
		s.wantGauges("0 of 2 running, 0 waiting")
		s.outcomes("ss")
		s.wantGauges("0 of 4 running, 0 waiting")
		s.configure(func(s *offloader.Settings) { s.Concurrency = 3 })
		s.wantGauges("0 of 3 running, 0 waiting")
	})
}

// quietRun runs without letting everything settle: that is faster.
func (s *stage) quietRun(o offloader.Outcome) {
	s.t.Helper()
	permit, err := s.pool.TryAcquire()
	if err != nil {
		s.t.Fatal(err)
	}
	permit.Release(o)
}

// wantLimits checks the limit after each outcome.
func (s *stage) wantLimits(outcomes string, want ...int) {
	s.t.Helper()
	var got []int
	for i := range outcomes {
		s.outcomes(outcomes[i : i+1])
		got = append(got, s.pool.Snapshot().Limit)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("limits after %s are %v, want %v", outcomes, got, want)
	}
}
