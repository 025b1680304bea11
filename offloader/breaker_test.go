package offloader_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// inARow trips after n failures in a row, for ten seconds.
func inARow(n int) *offloader.BreakerSettings {
	return &offloader.BreakerSettings{ConsecutiveFailures: n, CoolDown: 10 * second, Probes: 1}
}

// byRatio trips when half of at least four results are failures.
func byRatio() *offloader.BreakerSettings {
	return &offloader.BreakerSettings{FailureRatio: 0.5, MinRequests: 4, CoolDown: 10 * second, Probes: 1}
}

// fragile is a pool that trips after one failure.
func fragile(s *offloader.Settings) { s.Breaker = inARow(1) }

// outcomes runs one after the other: s is a success, f a failure, x excluded.
func (s *stage) outcomes(word string) {
	s.t.Helper()
	for _, o := range word {
		s.run(0, map[rune]offloader.Outcome{
			's': offloader.Success, 'f': offloader.Failure, 'x': offloader.Excluded,
		}[o])
	}
}

func (s *stage) wantBreaker(want offloader.BreakerState) {
	s.t.Helper()
	if got := s.pool.Snapshot().Breaker; got != want {
		s.t.Errorf("%s in: the breaker is %s, want %s", time.Since(s.began), got, want)
	}
}

func TestBreakerTrips(t *testing.T) {
	t.Parallel()
	both := byRatio()
	both.ConsecutiveFailures = 2
	for name, test := range map[string]struct {
		settings *offloader.BreakerSettings
		outcomes string
		trips    bool
	}{
		"by ratio, too few results":                {byRatio(), "fff", false},
		"by ratio, just enough results":            {byRatio(), "ffff", true},
		"by ratio, just enough failures":           {byRatio(), "ssff", true},
		"by ratio, too few failures":               {byRatio(), "sssff", false},
		"by ratio, later on":                       {byRatio(), "sssfff", true},
		"by ratio, excluded results do not count":  {byRatio(), "fffxxxxx", false},
		"by ratio, excluded results dilute it not": {byRatio(), "fffxxxxxf", true},
		"by ratio, never in a row":                 {byRatio(), "ssssssssssffffffff", false},
		"in a row, too few":                        {inARow(3), "ff", false},
		"in a row, enough":                         {inARow(3), "sssssssssfff", true},
		"in a row, interrupted by a success":       {inARow(3), "ffsff", false},
		"in a row, not interrupted by an excluded": {inARow(3), "fxfxf", true},
		"either rule, in a row":                    {both, "ff", true},
		"either rule, by ratio":                    {both, "sfsf", true},
		"the default, too few results":             {defaultBreaker(), "fffffffffffffffffff", false},
		"the default, enough results":              {defaultBreaker(), "ssssssssssffffffffff", true},
		"no breaker":                               {nil, "ffffffffffffffffffffffff", false},
	} {
		play(t, name, func(s *offloader.Settings) { s.Breaker = test.settings }, func(s *stage) {
			for i := range test.outcomes {
				if s.pool.Snapshot().Breaker == offloader.StateOpen {
					s.t.Fatalf("tripped after %s", test.outcomes[:i])
				}
				s.outcomes(test.outcomes[i : i+1])
			}
			want := offloader.StateClosed
			switch {
			case test.trips:
				want = offloader.StateOpen
				s.want(s.arrivals(1), "breaker_open")
			case test.settings == nil:
				want = offloader.StateOff
			}
			s.wantBreaker(want)
		})
	}
}

func defaultBreaker() *offloader.BreakerSettings {
	b := offloader.DefaultBreakerSettings()
	return &b
}

func TestWindowOfBreaker(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		window, longestRun time.Duration
		wait               time.Duration
		trips              bool
	}{
		"results within the window count":        {10 * second, 0, 8 * second, true},
		"results before the window do not":       {10 * second, 0, 11 * second, false},
		"by default it has half a minute":        {0, 0, 26 * second, true},
		"by default it has no more":              {0, 0, 31 * second, false},
		"by default it holds three longest runs": {0, 20 * second, 53 * second, true},
		"by default it holds not more of them":   {0, 20 * second, 61 * second, false},
		"short runs do not make it shorter":      {0, second, 26 * second, true},
	} {
		play(t, name, func(s *offloader.Settings) {
			s.Breaker, s.LongestRun = byRatio(), test.longestRun
			s.Breaker.Window = test.window
		}, func(s *stage) {
			s.outcomes("fff")
			s.pass(test.wait)
			s.outcomes("f")
			want := offloader.StateClosed
			if test.trips {
				want = offloader.StateOpen
			}
			s.wantBreaker(want)
		})
	}
	play(t, "it rolls: old results leave it bit by bit", func(s *offloader.Settings) {
		s.Breaker = byRatio()
		s.Breaker.Window = 10 * second
	}, func(s *stage) {
		s.outcomes("ffs")
		s.pass(6 * second)
		s.outcomes("s")
		s.pass(5 * second) // the first three are forgotten, the fourth is not
		s.outcomes("ff")
		s.wantBreaker(offloader.StateClosed)
		s.outcomes("f")
		s.wantBreaker(offloader.StateOpen)
	})
}

func TestOpenBreaker(t *testing.T) {
	t.Parallel()
	play(t, "waiters are rejected when it trips", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 2, inARow(1)
	}, func(s *stage) {
		all := s.arrivals(4)
		s.pass(second)
		all[0].release(offloader.Failure)
		s.want(all, "admitted admitted breaker_open breaker_open")
		all[2].wantAnswer("breaker_open", second)
		s.wantGauges("1 of 2 running, 0 waiting")
	})
	play(t, "waiters are rejected also if no permit comes free", func(s *offloader.Settings) {
		s.Linger, s.Breaker = time.Hour, inARow(1)
	}, func(s *stage) {
		all := s.arrivals(3)
		all[0].finished = true
		all[0].permit.ReleaseCancelled(offloader.Failure)
		synctest.Wait()
		s.want(all, "admitted breaker_open breaker_open")
		s.wantGauges("1 of 1 running, 0 waiting")
	})
	play(t, "what runs may end, and says nothing any more", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 3, inARow(1)
	}, func(s *stage) {
		all := s.arrivals(3)
		all[0].release(offloader.Failure)
		all[1].release(offloader.Success)
		s.wantBreaker(offloader.StateOpen)
		s.pass(5 * second)
		all[2].release(offloader.Failure) // does not prolong the cool-down
		s.pass(5*second + 1)
		s.wantBreaker(offloader.StateHalfOpen)
	})
	play(t, "the cool-down ends by itself", fragile, func(s *stage) {
		s.outcomes("f")
		s.pass(10 * second)
		s.wantBreaker(offloader.StateOpen)
		s.want(s.arrivals(1), "breaker_open")
		s.pass(1)
		s.wantBreaker(offloader.StateHalfOpen)
	})
	play(t, "results from before it tripped do not close it", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 2, inARow(1)
	}, func(s *stage) {
		all := s.arrivals(2)
		all[0].release(offloader.Failure)
		s.pass(10*second + 1)
		all[1].release(offloader.Success)
		s.wantBreaker(offloader.StateHalfOpen)
		s.want(s.arrivals(2), "admitted breaker_open")
	})
}

func TestProbes(t *testing.T) {
	t.Parallel()
	halfOpen := func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
	}
	play(t, "one probes, the others are rejected, and its success closes", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage) {
		halfOpen(s)
		three := s.arrivals(3)
		s.want(three, "admitted breaker_open breaker_open")
		s.wantBreaker(offloader.StateHalfOpen)
		three[0].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "a failed probe opens it for another cool-down", fragile, func(s *stage) {
		halfOpen(s)
		s.run(3*second, offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		s.pass(10 * second)
		s.wantBreaker(offloader.StateOpen)
		s.pass(1)
		s.wantBreaker(offloader.StateHalfOpen)
		s.outcomes("s")
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "an excluded probe makes way for another", fragile, func(s *stage) {
		halfOpen(s)
		s.outcomes("xx")
		s.wantBreaker(offloader.StateHalfOpen)
		s.outcomes("s")
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "as many as wanted must succeed", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
		s.Breaker.Probes = 2
	}, func(s *stage) {
		halfOpen(s)
		three := s.arrivals(3)
		s.want(three, "admitted admitted breaker_open")
		three[0].release(offloader.Success)
		s.wantBreaker(offloader.StateHalfOpen)
		s.want(s.arrivals(1), "breaker_open")
		three[1].release(offloader.Success)
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "one failure of many is enough", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
		s.Breaker.Probes = 2
	}, func(s *stage) {
		halfOpen(s)
		two := s.arrivals(2)
		two[0].release(offloader.Failure)
		s.wantBreaker(offloader.StateOpen)
		two[1].release(offloader.Success)
		s.wantBreaker(offloader.StateOpen)
	})
	for name, test := range map[string]struct {
		set, longestRun, want time.Duration
	}{
		"as set":                          {3 * second, 5 * second, 3 * second},
		"a second beyond the longest run": {0, 5 * second, 6 * second},
		"half a minute if nothing is set": {0, 0, 30 * second},
	} {
		play(t, "a probe that hangs counts as failed: "+name, func(s *offloader.Settings) {
			s.Concurrency, s.LongestRun, s.Breaker = 2, test.longestRun, inARow(1)
			s.Breaker.ProbeTimeout = test.set
		}, func(s *stage) {
			halfOpen(s)
			hung := s.arrive()
			s.pass(test.want - 1)
			s.wantBreaker(offloader.StateHalfOpen)
			s.pass(1)
			s.wantBreaker(offloader.StateOpen)
			s.wantGauges("1 of 2 running, 0 waiting") // its permit stays
			s.pass(10*second + 1)
			s.want(s.arrivals(2), "admitted breaker_open") // the next probe
			hung.release(offloader.Success)                // too late to count
			s.wantBreaker(offloader.StateHalfOpen)
			s.wantGauges("1 of 2 running, 0 waiting")
		})
	}
	play(t, "a probe in time is not counted again later", func(s *offloader.Settings) {
		s.Breaker = inARow(1)
		s.Breaker.ProbeTimeout = second
	}, func(s *stage) {
		halfOpen(s)
		s.run(second/2, offloader.Success)
		s.pass(time.Minute)
		s.wantBreaker(offloader.StateClosed)
	})
}
