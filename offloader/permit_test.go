package offloader_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestPermits(t *testing.T) {
	t.Parallel()
	t.Run("the zero permit is released already", func(t *testing.T) {
		t.Parallel()
		var zero offloader.Permit
		zero.Release(offloader.Success)
		zero.ReleaseCancelled(offloader.Excluded)
		zero.Abandon()
		zero.Report(offloader.Failure)
		zero.ReportTimeout()
		zero.Began()
		zero.Untimed()
		zero.Upgrade()
	})
	play(t, "a second release does nothing", func(s *offloader.Settings) {
		s.Concurrency = 2
	}, func(s *stage) {
		all := s.arrivals(2)
		all[0].release(offloader.Success)
		all[0].release(offloader.Failure)
		s.wantGauges("1 of 2 running, 0 waiting")
		if got := s.pool.Snapshot().Ended; got["success"] != 1 || got["failure"] != 0 {
			s.t.Errorf("ended: %v", got)
		}
	})
	play(t, "the first copy that is released counts", nil, func(s *stage) {
		c := s.arrive()
		copied := c.permit
		copied.Release(offloader.Success)
		c.release(offloader.Success)
		s.wantGauges("0 of 1 running, 0 waiting")
	})
	play(t, "many copies released at once free one place", func(s *offloader.Settings) {
		s.Concurrency = 4
	}, func(s *stage) {
		all := s.arrivals(4)
		for range 50 {
			go all[0].permit.Release(offloader.Success)
			go all[0].permit.ReleaseCancelled(offloader.Success)
		}
		synctest.Wait()
		s.wantGauges("3 of 4 running, 0 waiting")
	})
	play(t, "a stale permit never frees or marks a stranger's place", nil, func(s *stage) {
		stale := s.arrive()
		waiter := s.arrive()
		stale.release(offloader.Success)
		for range 3 { // each has the same place
			s.want([]*caller{waiter}, "admitted")
			stale.permit.Release(offloader.Success)
			stale.permit.ReleaseCancelled(offloader.Success)
			stale.permit.Abandon()
			if got := s.pool.Snapshot(); got.Running != 1 || got.Abandoned != 0 {
				s.t.Fatalf("after a stale release: %+v", got)
			}
			stale = waiter
			waiter = s.arrive()
			stale.release(offloader.Success)
		}
	})
	play(t, "an abandoned run keeps its permit and is counted", nil, func(s *stage) {
		all := s.arrivals(2)
		all[0].permit.Abandon()
		all[0].permit.Abandon()
		if got := s.pool.Snapshot(); got.Running != 1 || got.Abandoned != 1 || got.Waiting != 1 {
			s.t.Errorf("abandoned: %+v", got)
		}
		all[0].release(offloader.Failure)
		s.want(all, "admitted admitted")
		if got := s.pool.Snapshot(); got.Running != 1 || got.Abandoned != 0 {
			s.t.Errorf("after the next came: %+v", got)
		}
	})
	play(t, "an upgraded run gives its permit back and is counted until it ends", nil, func(s *stage) {
		all := s.arrivals(2)
		all[0].finished = true
		all[0].permit.Upgrade()
		synctest.Wait()
		s.want(all, "admitted admitted")
		if got := s.pool.Snapshot(); got.Upgraded != 1 || got.Running != 1 || got.Ended["success"] != 1 {
			s.t.Errorf("upgraded: %+v", got)
		}
		s.pool.EndUpgrade()
		if got := s.pool.Snapshot().Upgraded; got != 0 {
			s.t.Errorf("%d upgraded at the end", got)
		}
	})
	play(t, "a permit can be released after the pool was closed", nil, func(s *stage) {
		c := s.arrive()
		if err := s.pool.Close(ended(errLeft)); err == nil {
			s.t.Error("closed while a run goes on")
		}
		c.release(offloader.Success)
		s.wantGauges("0 of 1 running, 0 waiting")
		if got := s.pool.Snapshot().Ended["success"]; got != 1 {
			s.t.Errorf("%d ended", got)
		}
	})
}

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
		if got := s.pool.Snapshot(); got.Running != 1 || got.Lingering != 1 || got.Ended["excluded"] != 1 {
			s.t.Errorf("lingering: %+v", got)
		}
		s.pass(5*second - 1)
		s.want(all, "admitted waiting")
		s.pass(1)
		s.want(all, "admitted admitted")
		if got := s.pool.Snapshot(); got.Running != 1 || got.Lingering != 0 || got.MeanRun != 0 {
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
	play(t, "after that nothing lingers any more", lingering, func(s *stage) {
		c := s.arrive()
		if err := s.pool.Close(ended(errLeft)); err == nil {
			s.t.Error("closed while a run goes on")
		}
		cancelled(c)
		wantIdle(s.t, s.pool)
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
	for p.Snapshot().Ended["success"] < 2000 {
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
