package offloader_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// wantWarmUp checks how far the pool has come.
func (s *stage) wantWarmUp(limit, warmingUp int) {
	s.t.Helper()
	if got := s.pool.Snapshot(); got.Limit != limit || got.WarmingUp != warmingUp {
		s.t.Errorf("%s in: limit %d, warming up %d, want %d and %d", time.Since(s.began), got.Limit, got.WarmingUp, limit, warmingUp)
	}
}

// servedAll lets callers come one after the other, and each is served at once.
func (s *stage) servedAll(n int) {
	s.t.Helper()
	for i := range n {
		c := s.arrive()
		if got := c.state(); got != "admitted" {
			s.t.Fatalf("caller %d of %d is %s", i, n, got)
		}
		s.pass(time.Second)
		c.release(offloader.Success)
	}
}

func TestWarmUpBoundsNewRunsOnly(t *testing.T) {
	t.Parallel()
	for what, old := range map[string]func(*caller){
		"a run from before":              func(*caller) {},
		"an abandoned run from before":   func(c *caller) { c.permit.Abandon() },
		"a lingering permit from before": func(c *caller) { c.finished = true; c.permit.ReleaseCancelled(offloader.Excluded) },
	} {
		play(t, what+" takes no place from them", func(s *offloader.Settings) {
			ramping(s)
			s.Linger = 3 * time.Hour
		}, func(s *stage) {
			old(s.arrive())
			s.recover()
			s.wantWarmUp(2, 1)
			s.servedAll(360)
			s.wantWarmUp(8, 0)
		})
	}
	for what, act := range map[string]func(*offloader.Pool) error{
		"nothing": func(*offloader.Pool) error { return nil },
		"more permits": func(p *offloader.Pool) error {
			n := 16
			return p.Override(func(o *offloader.Override) { o.Concurrency = &n })
		},
		"no limit": func(p *offloader.Pool) error {
			n := 0
			return p.Override(func(o *offloader.Override) { o.Concurrency = &n })
		},
		"a pause":          func(p *offloader.Pool) error { p.Pause(); p.Resume(); return nil },
		"a forced breaker": func(p *offloader.Pool) error { p.ForceBreaker(offloader.BreakerForcedClosed); return nil },
		"one given back": func(p *offloader.Pool) error {
			p.ForceBreaker(offloader.BreakerForcedClosed)
			p.ForceBreaker(offloader.BreakerAuto)
			return nil
		},
		"one given back from open": func(p *offloader.Pool) error {
			p.ForceBreaker(offloader.BreakerForcedOpen)
			p.ForceBreaker(offloader.BreakerAuto)
			return nil
		},
	} {
		play(t, "with a run from before all are served after "+what, ramping, func(s *stage) {
			s.arrive()
			s.recover()
			if err := act(s.pool); err != nil {
				s.t.Fatal(err)
			}
			s.servedAll(20)
		})
	}
	play(t, "runs from before and new ones share the permits", ramping, func(s *stage) {
		old := s.arrivals(7)
		s.recover()
		s.outcomes("s")
		all := s.arrivals(3)
		s.want(all, "admitted waiting waiting") // the limit is two, but there are eight permits
		s.wantWarmUp(8, 2)
		old[0].release(offloader.Success)
		s.want(all, "admitted admitted waiting")
		old[1].release(offloader.Success)
		s.want(all, "admitted admitted waiting")
		s.wantWarmUp(7, 2)
	})
	play(t, "a new run that is abandoned makes way, and says nothing", ramping, func(s *stage) {
		s.recover()
		all := s.arrivals(2)
		s.want(all, "admitted waiting")
		all[0].permit.Abandon()
		synctest.Wait()
		s.want(all, "admitted admitted")
		s.wantWarmUp(2, 1)
		all[0].release(offloader.Success)
		s.wantWarmUp(1, 1)
		all[1].release(offloader.Success)
		s.wantWarmUp(2, 2)
	})
	play(t, "a new run that lingers makes way", func(s *offloader.Settings) {
		ramping(s)
		s.Linger = time.Minute
	}, func(s *stage) {
		s.recover()
		all := s.arrivals(2)
		all[0].finished = true
		all[0].permit.ReleaseCancelled(offloader.Excluded)
		synctest.Wait()
		s.want(all, "admitted admitted")
		s.wantWarmUp(2, 1)
		s.pass(time.Minute)
		wantRunning(s, 1)
	})
}

func wantRunning(s *stage, want int) {
	s.t.Helper()
	if got := s.pool.Snapshot().Running; got != want {
		s.t.Errorf("%d run, want %d", got, want)
	}
}

func TestWarmUpEndsByTime(t *testing.T) {
	t.Parallel()
	play(t, "one limit holds for a cool-down at most, whatever the runs do", ramping, func(s *stage) {
		s.recover()
		all := s.arrivals(20) // no answer begins
		for _, limit := range []int{1, 2, 4} {
			s.pass(10*second - 1)
			s.wantWarmUp(limit, limit)
			wantRunning(s, limit)
			s.pass(1)
		}
		s.wantWarmUp(8, 0)
		wantRunning(s, 8)
		s.want(all[7:9], "admitted waiting")
	})
	play(t, "a wider limit has the whole time again", ramping, func(s *stage) {
		s.recover()
		s.pass(9 * second)
		s.outcomes("s")
		s.wantWarmUp(2, 2)
		s.pass(10*second - 1)
		s.wantWarmUp(2, 2)
		s.pass(1)
		s.wantWarmUp(4, 4)
	})
	play(t, "failures do not make it longer", func(s *offloader.Settings) {
		ramping(s)
		s.Breaker.ConsecutiveFailures = 1_000
	}, func(s *stage) {
		s.pool.ForceBreaker(offloader.BreakerForcedOpen)
		s.pool.ForceBreaker(offloader.BreakerAuto)
		for range 29 {
			s.pass(second)
			s.outcomes("f")
		}
		s.wantWarmUp(4, 4)
		s.pass(second)
		s.wantWarmUp(8, 0)
	})
	play(t, "an idle pool warms up too", ramping, func(s *stage) {
		s.recover()
		s.pass(30 * second)
		s.wantWarmUp(8, 0)
	})
	play(t, "without a limit too", func(s *offloader.Settings) {
		ramping(s)
		s.Concurrency = 0
	}, func(s *stage) {
		s.recover()
		s.pass(90 * second)
		s.wantWarmUp(512, 512)
		s.pass(10 * second)
		s.wantWarmUp(0, 0)
	})
	play(t, "a ramp that begins again has the whole time", ramping, func(s *stage) {
		s.recover()
		s.pass(5 * second)
		s.recover() // another ten seconds
		s.pass(10*second - 1)
		s.wantWarmUp(1, 1)
		s.pass(1)
		s.wantWarmUp(2, 2)
	})
	for _, cool := range []time.Duration{second, time.Minute} {
		play(t, fmt.Sprintf("with a cool-down of %s", cool), func(s *offloader.Settings) {
			ramping(s)
			s.Breaker.CoolDown = cool
		}, func(s *stage) {
			s.outcomes("f")
			s.pass(cool + 1)
			s.outcomes("s")
			s.pass(3*cool - 1)
			s.wantWarmUp(4, 4)
			s.pass(1)
			s.wantWarmUp(8, 0)
		})
	}
}
