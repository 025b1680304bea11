package offloader_test

import (
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
		zero.Detach()
	})
	play(t, "a second release does nothing", func(s *offloader.Settings) {
		s.Concurrency = 2
	}, func(s *stage) {
		all := s.arrivals(2)
		all[0].release(offloader.Success)
		all[0].release(offloader.Failure)
		s.wantGauges("1 of 2 running, 0 waiting")
		if got := s.pool.Snapshot().Ended; got[offloader.Success] != 1 || got[offloader.Failure] != 0 {
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
		for range 3 { // each reuses the same record
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
		all[0].permit.Detach()
		synctest.Wait()
		s.want(all, "admitted admitted")
		if got := s.pool.Snapshot(); got.Detached != 1 || got.Running != 1 || got.Ended[offloader.Success] != 1 {
			s.t.Errorf("upgraded: %+v", got)
		}
		s.pool.EndDetached()
		if got := s.pool.Snapshot().Detached; got != 0 {
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
		if got := s.pool.Snapshot().Ended[offloader.Success]; got != 1 {
			s.t.Errorf("%d ended", got)
		}
	})
}
