package offloader_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestLingeringPermits(t *testing.T) {
	t.Parallel()
	lingering := func(s *offloader.Settings) { s.Linger = 5 * second }
	cancelled := func(c *caller) {
		c.finished = true
		c.permit.ReleaseCancelled(offloader.Excluded)
		synctest.Wait()
	}
	play(t, "a cancelled run's permit is kept exactly that long", lingering, func(s *stage) {
		all := s.arrivals(2)
		s.pass(second)
		cancelled(all[0])
		if got := s.pool.Snapshot(); got.Running != 1 || got.Lingering != 1 || got.Ended[offloader.Excluded] != 1 {
			s.t.Errorf("lingering: %+v", got)
		}
		s.pass(5*second - 1)
		s.want(all, "admitted waiting")
		s.pass(1)
		s.want(all, "admitted admitted")
		if got := s.pool.Snapshot(); got.Running != 1 || got.Lingering != 0 || got.TypicalRun != 0 {
			s.t.Errorf("later: %+v", got)
		}
	})
	play(t, "releasing it again does not shorten that", lingering, func(s *stage) {
		all := s.arrivals(2)
		cancelled(all[0])
		all[0].permit.Release(offloader.Excluded)
		cancelled(all[0])
		s.pass(5*second - 1)
		s.want(all, "admitted waiting")
	})
	play(t, "an ordinary release does not linger", lingering, func(s *stage) {
		all := s.arrivals(2)
		all[0].release(offloader.Excluded)
		s.want(all, "admitted admitted")
	})
	play(t, "without the setting nothing lingers", nil, func(s *stage) {
		all := s.arrivals(2)
		cancelled(all[0])
		s.want(all, "admitted admitted")
	})
	play(t, "an abandoned permit that lingers is given back as a whole", lingering, func(s *stage) {
		c := s.arrive()
		c.permit.Abandon()
		cancelled(c)
		if got := s.pool.Snapshot(); got.Running != 1 || got.Abandoned != 0 || got.Lingering != 1 {
			s.t.Errorf("%+v", got)
		}
		s.pass(5 * second)
		wantIdle(s.t, s.pool)
	})
	play(t, "closing the pool gives lingering permits back", lingering, func(s *stage) {
		cancelled(s.arrive())
		if err := s.pool.Close(s.t.Context()); err != nil {
			s.t.Error(err)
		}
		wantIdle(s.t, s.pool)
		s.pass(10 * second) // its timer is gone
		wantIdle(s.t, s.pool)
	})
	play(t, "after that nothing lingers", lingering, func(s *stage) {
		c := s.arrive()
		if err := s.pool.Close(ended(errLeft)); err == nil {
			s.t.Error("closed while a run goes on")
		}
		cancelled(c)
		wantIdle(s.t, s.pool)
	})
	for what, set := range map[string]func(*stage, time.Duration){
		"an override": func(s *stage, d time.Duration) {
			s.override(func(o *offloader.Override) { o.Linger = &d })
		},
		"a configuration": func(s *stage, d time.Duration) {
			s.configure(func(s *offloader.Settings) { s.Linger = d })
		},
	} {
		play(t, "a shorter one by "+what+" ends it earlier", lingering, func(s *stage) {
			all := s.arrivals(2)
			cancelled(all[0])
			s.pass(second)
			set(s, 3*second)
			s.pass(2*second - 1)
			s.want(all, "admitted waiting")
			s.pass(1)
			s.want(all, "admitted admitted")
		})
		play(t, "one that is shorter than it has lasted by "+what+" ends it at once", lingering, func(s *stage) {
			all := s.arrivals(2)
			cancelled(all[0])
			s.pass(4 * second)
			set(s, 3*second)
			synctest.Wait()
			s.want(all, "admitted admitted")
		})
		play(t, "none at all by "+what+" ends it at once", lingering, func(s *stage) {
			all := s.arrivals(2)
			cancelled(all[0])
			set(s, 0)
			synctest.Wait()
			s.want(all, "admitted admitted")
		})
		play(t, "a longer one by "+what+" does not prolong it, nor does one after that", lingering, func(s *stage) {
			all := s.arrivals(2)
			cancelled(all[0])
			set(s, time.Hour)
			s.pass(second)
			set(s, 10*time.Minute)
			s.pass(4*second - 1)
			s.want(all, "admitted waiting")
			s.pass(1)
			s.want(all, "admitted admitted")
		})
	}
	play(t, "a mistyped one can be taken back", func(s *offloader.Settings) {
		s.Concurrency = 2
	}, func(s *stage) {
		hours := 5 * time.Hour
		s.override(func(o *offloader.Override) { o.Linger = &hours })
		for _, c := range s.arrivals(2) {
			cancelled(c)
		}
		s.pass(time.Hour)
		all := s.arrivals(3)
		s.want(all, "waiting waiting waiting")
		s.override(func(o *offloader.Override) { *o = offloader.Override{} })
		synctest.Wait()
		s.want(all, "admitted admitted waiting")
		if got := s.pool.Snapshot(); got.Lingering != 0 || got.Running != 2 {
			s.t.Errorf("%+v", got)
		}
	})
	play(t, "a place that lingers again does so for its own time", lingering, func(s *stage) {
		cancelled(s.arrive())
		s.configure(func(s *offloader.Settings) { s.Linger = 0 })
		s.configure(func(s *offloader.Settings) { s.Linger = 5 * second })
		s.pass(3 * second)
		cancelled(s.arrive())
		waiter := s.arrive()
		s.pass(5*second - 1)
		waiter.wantAnswer("waiting", 0)
		s.pass(1)
		waiter.wantAnswer("admitted", 5*second)
	})
	play(t, "a drain does not wait for lingering permits", lingering, func(s *stage) {
		all := s.arrivals(2)
		drained := s.drain()
		cancelled(all[0])
		s.wantNotEnded(drained) // one still waits for the permit
		all[1].leave(errLeft)
		synctest.Wait()
		s.wantEndedWith(drained, nil)
		s.pass(5 * second)
	})
	play(t, "a success that lingers and widens the ramp lets a waiter in", func(s *offloader.Settings) {
		ramping(s)
		s.Linger = 5 * second
	}, func(s *stage) {
		s.recover()
		all := s.arrivals(2)
		s.want(all, "admitted waiting")
		all[0].finished = true
		all[0].permit.ReleaseCancelled(offloader.Success)
		synctest.Wait()
		s.want(all, "admitted admitted") // one of two permits lingers
	})
}

// A snapshot never shows that less than nothing lingers, however short that is.
func TestLingeringIsNeverNegative(t *testing.T) {
	t.Parallel()
	p, err := offloader.New("reports", offloader.Settings{Linger: 1})
	if err != nil {
		t.Fatal(err)
	}
	var releasing sync.WaitGroup
	releasing.Go(func() {
		for range 2000 {
			permit, err := p.TryAcquire()
			if err != nil {
				t.Error(err)
			}
			permit.ReleaseCancelled(offloader.Success)
		}
	})
	for p.Snapshot().Ended[offloader.Success] < 2000 {
		if got := p.Snapshot(); got.Lingering < 0 || got.Lingering > got.Running {
			t.Errorf("snapshot: %+v", got)
			break
		}
	}
	releasing.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
