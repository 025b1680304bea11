package offloader_test

import (
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// configure changes some settings of the pool.
func (s *stage) configure(change func(*offloader.Settings)) {
	s.t.Helper()
	settings := s.pool.Settings()
	change(&settings)
	if err := s.pool.Configure(settings); err != nil {
		s.t.Fatal(err)
	}
	if got := s.pool.Settings(); !reflect.DeepEqual(got, settings) {
		s.t.Errorf("settings are %+v, want %+v", got, settings)
	}
	synctest.Wait()
}

func TestSettingsOfLivingPools(t *testing.T) {
	t.Parallel()
	play(t, "more permits go to the waiters in their order", nil, func(s *stage) {
		all := s.arrivals(5)
		s.configure(func(s *offloader.Settings) { s.Concurrency = 3 })
		s.want(all, "admitted admitted admitted waiting waiting")
		s.wantGauges("3 of 3 running, 2 waiting")
	})
	play(t, "fewer permits take effect as runs end", func(s *offloader.Settings) {
		s.Concurrency = 3
	}, func(s *stage) {
		all := s.arrivals(5)
		s.configure(func(s *offloader.Settings) { s.Concurrency = 1 })
		s.wantGauges("3 of 1 running, 2 waiting")
		all[0].release(offloader.Success)
		all[1].release(offloader.Success)
		s.want(all, "admitted admitted admitted waiting waiting")
		all[2].release(offloader.Success)
		s.want(all, "admitted admitted admitted admitted waiting")
		s.wantGauges("1 of 1 running, 1 waiting")
	})
	play(t, "no limit at all lets everybody in", nil, func(s *stage) {
		all := s.arrivals(5)
		s.configure(func(s *offloader.Settings) { s.Concurrency = 0 })
		s.want(all, "admitted admitted admitted admitted admitted")
	})
	play(t, "a limit where there was none waits for the runs", func(s *offloader.Settings) {
		s.Concurrency = 0
	}, func(s *stage) {
		all := s.arrivals(3)
		s.configure(func(s *offloader.Settings) { s.Concurrency = 2 })
		all = append(all, s.arrive())
		all[0].release(offloader.Success)
		s.want(all, "admitted admitted admitted waiting")
		all[1].release(offloader.Success)
		s.want(all, "admitted admitted admitted admitted")
	})
	play(t, "waiters keep their places in a shorter queue", func(s *offloader.Settings) {
		s.Queue = 3
	}, func(s *stage) {
		all := s.arrivals(4)
		s.configure(func(s *offloader.Settings) { s.Queue = 1 })
		all = append(all, s.arrive())
		s.want(all, "admitted waiting waiting waiting queue_full")
		for _, c := range all[:4] {
			c.release(offloader.Success)
		}
	})
	play(t, "a longer queue takes more", func(s *offloader.Settings) {
		s.Queue = 0
	}, func(s *stage) {
		all := s.arrivals(2)
		s.configure(func(s *offloader.Settings) { s.Queue = 1 })
		all = append(all, s.arrivals(2)...)
		s.want(all, "admitted queue_full waiting queue_full")
	})
	play(t, "a longest wait counts for who waits already", nil, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		s.pass(3 * second)
		s.configure(func(s *offloader.Settings) { s.MaxWait = 4 * second })
		s.pass(5 * second)
		waiter.wantAnswer("wait_timeout", 4*second)
	})
	play(t, "a shorter wait ends waits that are longer at once", sixteenSeconds, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		s.pass(3 * second)
		s.configure(func(s *offloader.Settings) { s.MaxWait = second })
		waiter.wantAnswer("wait_timeout", 3*second)
	})
	play(t, "a longer wait counts as well", func(s *offloader.Settings) {
		s.MaxWait = second
	}, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		s.configure(func(s *offloader.Settings) { s.MaxWait = 5 * second })
		s.pass(10 * second)
		waiter.wantAnswer("wait_timeout", 5*second)
	})
	play(t, "no longest wait lets everybody wait on", func(s *offloader.Settings) {
		s.MaxWait = second
	}, func(s *stage) {
		s.arrive()
		waiter := s.arrive()
		s.configure(func(s *offloader.Settings) { s.MaxWait = 0 })
		s.pass(10 * second)
		waiter.wantAnswer("waiting", 0)
	})
	play(t, "another order counts for who waits already", sixteenSeconds, func(s *stage) {
		holder := busy(s)
		five := s.arrivals(5)
		s.configure(func(s *offloader.Settings) { s.Order = offloader.OrderFIFO })
		s.pass(second)
		holder.release(offloader.Success)
		s.want(five, "admitted waiting waiting waiting waiting")
		s.configure(func(s *offloader.Settings) { s.Order = offloader.OrderAuto })
		five = append(five, s.arrive())
		s.pass(second)
		five[0].release(offloader.Success)
		s.want(five, "admitted waiting waiting waiting waiting admitted")
	})
	play(t, "settings that make no sense change nothing", nil, func(s *stage) {
		before := s.pool.Settings()
		if err := s.pool.Configure(offloader.Settings{Concurrency: -1}); err == nil {
			s.t.Error("no error")
		}
		if got := s.pool.Settings(); !reflect.DeepEqual(got, before) {
			s.t.Errorf("settings are %+v, want %+v", got, before)
		}
	})
}
