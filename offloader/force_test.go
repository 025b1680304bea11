package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// force takes the breaker by hand and lets everything settle.
func (s *stage) force(c offloader.BreakerControl) {
	s.pool.ForceBreaker(c)
	s.pass(0)
}

func (s *stage) wantForced(state offloader.BreakerState, forced bool) {
	s.t.Helper()
	if got := s.pool.Snapshot(); got.Breaker != state || got.BreakerForced != forced {
		s.t.Errorf("%s in: the breaker is %s, forced %t, want %s, %t", time.Since(s.began), got.Breaker, got.BreakerForced, state, forced)
	}
}

func TestBreakerForcedOpen(t *testing.T) {
	t.Parallel()
	observed(t, "rejects waiters and newcomers, and no cool-down ends it", fragile, func(s *stage, l *log) {
		all := s.arrivals(2)
		s.force(offloader.BreakerForcedOpen)
		s.want(append(all, s.arrive()), "admitted breaker_open breaker_open")
		s.wantForced(offloader.StateOpen, true)
		s.pass(time.Hour)
		s.want(s.arrivals(1), "breaker_open")
		all[0].release(offloader.Failure) // ignored by now
		s.wantForced(offloader.StateOpen, true)
		l.want("closed to open")
	})
	play(t, "advises the cool-down, however long it is open", fragile, func(s *stage) {
		s.force(offloader.BreakerForcedOpen)
		s.pass(time.Hour)
		s.wantAdvice(s.advice(offloader.BreakerOpen, 100), 10*second, 11*second)
	})
	play(t, "works without a breaker", nil, func(s *stage) {
		s.force(offloader.BreakerForcedOpen)
		s.want(s.arrivals(1), "breaker_open")
		s.wantAdvice(s.advice(offloader.BreakerOpen, 100), 10*second, 11*second)
		s.force(offloader.BreakerAuto)
		s.wantForced(offloader.StateOff, false)
		s.want(s.arrivals(1), "admitted")
	})
	play(t, "a pool that drains says so", nil, func(s *stage) {
		s.force(offloader.BreakerForcedOpen)
		s.drain()
		s.want(s.arrivals(1), "draining")
	})
	observed(t, "takes over from a breaker that has tripped", fragile, func(s *stage, l *log) {
		s.outcomes("f")
		s.force(offloader.BreakerForcedOpen)
		s.pass(time.Hour)
		s.wantForced(offloader.StateOpen, true)
		l.want("closed to open")
	})
}

func TestBreakerForcedClosed(t *testing.T) {
	t.Parallel()
	observed(t, "admits all, and nothing trips", fragile, func(s *stage, l *log) {
		s.force(offloader.BreakerForcedClosed)
		s.outcomes("ffff")
		s.wantForced(offloader.StateClosed, true)
		l.want()
	})
	observed(t, "ends a trip at once, without a ramp", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage, l *log) {
		s.outcomes("f")
		s.force(offloader.BreakerForcedClosed)
		s.want(s.arrivals(5), "admitted admitted admitted admitted waiting")
		l.want("closed to open", "open to closed")
	})
	play(t, "ends a ramp", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		s.outcomes("s")
		all := s.arrivals(5)
		s.want(all, "admitted waiting waiting waiting waiting")
		s.force(offloader.BreakerForcedClosed)
		s.want(all, "admitted admitted admitted admitted waiting")
	})
}

func TestBreakerGivenBackToItsRules(t *testing.T) {
	t.Parallel()
	play(t, "it is closed and begins with no results", func(s *offloader.Settings) {
		s.Breaker = inARow(2)
	}, func(s *stage) {
		s.outcomes("f")
		s.force(offloader.BreakerForcedClosed)
		s.force(offloader.BreakerAuto)
		s.wantForced(offloader.StateClosed, false)
		s.outcomes("f")
		s.wantForced(offloader.StateClosed, false)
		s.outcomes("f")
		s.wantForced(offloader.StateOpen, false)
	})
	observed(t, "coming from open, the pool warms up", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage, l *log) {
		s.force(offloader.BreakerForcedOpen)
		s.force(offloader.BreakerAuto)
		all := s.arrivals(3)
		s.want(all, "admitted waiting waiting")
		all[0].release(offloader.Success)
		s.want(all, "admitted admitted admitted")
		l.want("closed to open", "open to closed")
	})
	play(t, "coming from closed, it does not", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 4, inARow(1)
	}, func(s *stage) {
		s.force(offloader.BreakerForcedClosed)
		s.force(offloader.BreakerAuto)
		s.want(s.arrivals(3), "admitted admitted admitted")
	})
	play(t, "a breaker that follows its rules is left alone", fragile, func(s *stage) {
		s.outcomes("f")
		s.force(offloader.BreakerAuto)
		s.wantForced(offloader.StateOpen, false)
	})
}

// A forced breaker stays forced with new settings, including those of the breaker.
func TestForcedBreakerIsConfigured(t *testing.T) {
	t.Parallel()
	for name, control := range map[string]offloader.BreakerControl{
		"open": offloader.BreakerForcedOpen, "closed": offloader.BreakerForcedClosed,
	} {
		play(t, name, fragile, func(s *stage) {
			s.force(control)
			before := s.pool.Snapshot().Breaker
			s.configure(func(s *offloader.Settings) { s.Concurrency = 2 })
			s.wantForced(before, true)
			s.configure(func(s *offloader.Settings) { s.Breaker = nil })
			s.wantForced(before, true)
			s.configure(func(s *offloader.Settings) {
				s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: 30 * second, Probes: 1}
			})
			s.wantForced(before, true)
			if control == offloader.BreakerForcedOpen {
				s.wantAdvice(s.advice(offloader.BreakerOpen, 100), 30*second, 31*second)
			}
			s.force(offloader.BreakerAuto)
			s.wantForced(offloader.StateClosed, false)
		})
	}
}

func TestBreakerControlsHaveWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]offloader.BreakerControl{
		"auto": offloader.BreakerAuto, "open": offloader.BreakerForcedOpen, "closed": offloader.BreakerForcedClosed,
	} {
		if got, err := offloader.ParseBreakerControl(word); err != nil || got != want || got.String() != word {
			t.Errorf("%s is %v, %v", word, got, err)
		}
	}
	if _, err := offloader.ParseBreakerControl("half_open"); errorText(err) != "unknown state 'half_open' of a breaker: want 'open', 'closed' or 'auto'" {
		t.Errorf("error: %v", err)
	}
}
