package offloader_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// log collects the calls of an observer, and checks their order.
type log struct {
	t *testing.T

	mu      sync.Mutex
	busy    bool
	jumps   bool // the breaker is also changed by Configure, which does not call l
	last    offloader.BreakerState
	entries []string
	also    func() // called by each observation
}

func (l *log) observe(from, to offloader.BreakerState) {
	l.mu.Lock()
	if l.busy {
		l.t.Error("told of two changes at once")
	}
	if from != l.last && !l.jumps {
		l.t.Errorf("told of a change from %s after one to %s", from, l.last)
	}
	l.busy, l.last = true, to
	l.entries = append(l.entries, fmt.Sprintf("%s to %s", from, to))
	also := l.also
	l.mu.Unlock()
	if also != nil {
		also()
	}
	l.mu.Lock()
	l.busy = false
	l.mu.Unlock()
}

func (l *log) want(want ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.entries, want) {
		l.t.Errorf("observed %q, want %q", l.entries, want)
	}
}

func (l *log) changes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// observed plays a scene with a pool whose breaker is observed.
func observed(t *testing.T, name string, change func(*offloader.Settings), scene func(s *stage, l *log)) {
	t.Helper()
	l := &log{t: t, last: offloader.StateClosed}
	play(t, name, change, func(s *stage) {
		l.t = s.t
		scene(s, l)
	}, offloader.WithBreakerObserver(l.observe))
}

func TestObserversOfBreaker(t *testing.T) {
	t.Parallel()
	observed(t, "are told of each change, in order", fragile, func(s *stage, l *log) {
		s.outcomes("sf")
		l.want("closed to open")
		s.pass(10*second + 1)
		s.outcomes("f")
		s.pass(10*second + 1)
		s.outcomes("s")
		l.want("closed to open", "open to half_open", "half_open to open", "open to half_open", "half_open to closed")
		want := map[offloader.BreakerState]uint64{offloader.StateClosed: 1, offloader.StateHalfOpen: 2, offloader.StateOpen: 2}
		if got := s.pool.Snapshot().BreakerChanged; !maps.Equal(got, want) {
			s.t.Errorf("counted %v, want %v", got, want)
		}
	})
	observed(t, "are told of a probe that hangs", fragile, func(s *stage, l *log) {
		s.outcomes("f")
		s.pass(10*second + 1)
		s.arrive()
		s.pass(30 * second)
		l.want("closed to open", "open to half_open", "half_open to open")
	})
	observed(t, "may use the pool as they like", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 2, inARow(1)
	}, func(s *stage, l *log) {
		calls := 0
		l.also = func() {
			calls++
			s.pool.Snapshot()
			s.pool.Settings()
			if s.pool.RejectEarly() == nil {
				if permit, err := s.pool.TryAcquire(); err == nil {
					permit.Release(offloader.Excluded)
				}
			}
			settings := s.pool.Settings()
			settings.Queue++
			if err := s.pool.Configure(settings); err != nil {
				s.t.Error(err)
			}
		}
		waiters := s.arrivals(4)
		waiters[0].release(offloader.Failure)
		s.want(waiters, "admitted admitted breaker_open breaker_open")
		s.pass(10*second + 1)
		s.outcomes("s")
		s.wantBreaker(offloader.StateClosed)
		if calls != 3 || s.pool.Settings().Queue != 13 {
			s.t.Errorf("%d calls, %d places", calls, s.pool.Settings().Queue)
		}
	})
	observed(t, "may change its state themselves", fragile, func(s *stage, l *log) {
		l.also = func() { // the first probe fails
			if permit, err := s.pool.TryAcquire(); err == nil {
				l.also = nil
				permit.Release(offloader.Failure)
			}
		}
		s.outcomes("f")
		s.pass(10*second + 1)
		l.want("closed to open", "open to half_open", "half_open to open")
	})
	observed(t, "hear each of many changes by many threads", func(s *offloader.Settings) {
		s.Concurrency, s.Breaker = 0, inARow(1)
		s.Breaker.CoolDown = 1
	}, func(s *stage, l *log) {
		for round := range 200 {
			for range 8 {
				go func() {
					if permit, err := s.pool.TryAcquire(); err == nil {
						permit.Release(offloader.Outcome(round % 2))
					}
				}()
			}
			s.pass(2)
		}
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.last != s.pool.Snapshot().Breaker || len(l.entries) < 100 {
			s.t.Errorf("last told of %s after %d changes, and it is %s",
				l.last, len(l.entries), s.pool.Snapshot().Breaker)
		}
	})
}

func TestSettingsOfLivingBreakers(t *testing.T) {
	t.Parallel()
	slower := func(s *offloader.Settings) {
		b := *s.Breaker
		b.CoolDown = 20 * second
		s.Breaker = &b
	}
	same := func(s *offloader.Settings) {
		b := *s.Breaker
		s.Breaker, s.Concurrency = &b, 2
	}
	off := func(s *offloader.Settings) { s.Breaker = nil }
	on := func(s *offloader.Settings) { s.Breaker = inARow(2) }
	three := func(s *offloader.Settings) { s.Concurrency, s.Breaker = 3, inARow(3) }

	observed(t, "the same settings keep the results", three, func(s *stage, l *log) {
		s.outcomes("ff")
		s.configure(same)
		s.outcomes("f")
		s.wantBreaker(offloader.StateOpen)
		l.want("closed to open")
	})
	observed(t, "new settings begin with no results", three, func(s *stage, l *log) {
		s.outcomes("ff")
		s.configure(slower)
		s.outcomes("ff")
		s.wantBreaker(offloader.StateClosed)
		s.outcomes("f")
		s.wantBreaker(offloader.StateOpen)
		l.want("closed to open")
	})
	observed(t, "a longest run that changes the window is a new setting", three, func(s *stage, _ *log) {
		s.outcomes("ff")
		s.configure(func(s *offloader.Settings) { s.LongestRun = 20 * second })
		s.outcomes("f")
		s.wantBreaker(offloader.StateClosed)
	})
	observed(t, "an open breaker stays open for its new cool-down, and nobody is told", three, func(s *stage, l *log) {
		s.outcomes("fff")
		s.pass(9 * second)
		s.configure(slower)
		s.wantBreaker(offloader.StateOpen)
		s.pass(20 * second)
		s.wantBreaker(offloader.StateOpen)
		l.want("closed to open")
		s.pass(1)
		s.wantBreaker(offloader.StateHalfOpen)
		s.outcomes("s")
		l.want("closed to open", "open to half_open", "half_open to closed")
		s.outcomes("ff")
		s.wantBreaker(offloader.StateClosed)
	})
	play(t, "a half-open breaker is open again", three, func(s *stage) {
		s.outcomes("fff")
		s.pass(10*second + 1)
		probe := s.arrive()
		s.configure(slower)
		s.wantBreaker(offloader.StateOpen)
		probe.release(offloader.Success) // of a breaker that is gone
		s.wantBreaker(offloader.StateOpen)
		s.wantGauges("0 of 3 running, 0 waiting")
	})
	observed(t, "an open breaker that is switched off lets in at once", three, func(s *stage, l *log) {
		s.outcomes("fff")
		s.configure(off)
		s.wantBreaker(offloader.StateOff)
		s.outcomes("ffffff")
		s.configure(on)
		s.wantBreaker(offloader.StateClosed)
		l.last = offloader.StateClosed // Configure does not call it
		s.outcomes("f")
		s.wantBreaker(offloader.StateClosed)
		s.outcomes("f")
		s.wantBreaker(offloader.StateOpen)
		s.pass(time.Minute) // the old cool-down has no effect
		l.entries = l.entries[:2]
		l.want("closed to open", "closed to open")
	})
	for name, change := range map[string]func(*offloader.Settings){"off": off, "changed": slower} {
		observed(t, "late results of a breaker that was "+name+" concern nobody", three, func(s *stage, l *log) {
			all := s.arrivals(4)
			s.configure(change)
			for _, c := range all[:2] {
				c.permit.Release(offloader.Failure)
				c.finished = true
			}
			all = append(all, s.arrivals(3)...)
			all[2].release(offloader.Failure) // the old one would have tripped
			s.want(all, "admitted admitted admitted admitted admitted admitted waiting")
			s.pass(time.Minute)
			l.want()
		})
		observed(t, "a late probe of a breaker that was "+name+" begins no ramp", three, func(s *stage, _ *log) {
			s.outcomes("fff")
			s.pass(10*second + 1)
			probe := s.arrive()
			s.configure(change)
			probe.release(offloader.Success)
			s.wantGauges("0 of 3 running, 0 waiting")
		})
	}
}

// A saturation is reported when it begins, not for each waiter.
func TestObserversOfSaturation(t *testing.T) {
	t.Parallel()
	told := 0
	play(t, "are told once of each", nil, func(s *stage) {
		expect := func(step string, want int) {
			s.t.Helper()
			if told != want {
				s.t.Errorf("%s: told %d times, want %d", step, told, want)
			}
		}
		s.pass(time.Minute)
		one := s.arrive()
		expect("all permits are taken", 0)
		two := s.arrive()
		expect("somebody waits", 1)
		three := s.arrivals(3)
		expect("more wait", 1)
		for _, c := range append([]*caller{one, two}, three...) {
			c.release(offloader.Success)
		}
		s.pass(offloader.SaturationCalm)
		four, five := s.arrive(), s.arrive()
		expect("somebody waits again before it was calm for long", 1)
		s.pass(2 * offloader.SaturationCalm)
		six := s.arrive()
		expect("more wait although somebody does all along", 1)
		for _, c := range []*caller{four, five, six} {
			c.release(offloader.Success)
		}
		s.pass(offloader.SaturationCalm + 1)
		s.arrivals(2)
		expect("somebody waits after calm", 2)
		s.finish()
		s.pass(2 * offloader.SaturationCalm)
		s.pool.Pause()
		s.arrive()
		expect("somebody waits because of a pause", 2)
		s.pool.Resume()
	}, offloader.WithSaturationObserver(func() { told++ }))
}
