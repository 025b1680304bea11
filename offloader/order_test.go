package offloader_test

import (
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

const second = time.Second

// busy is a pool with one permit, taken for good after it has learnt that a run takes
// one second, so that it predicts a second for each waiter: with a longest wait of 16 seconds
// it is healthy with up to four of them.
func busy(s *stage) *caller {
	s.learn(second)
	holder := s.arrive()
	s.began = time.Now()
	return holder
}

func sixteenSeconds(s *offloader.Settings) { s.MaxWait = 16 * second }

func TestOrderOfWaiters(t *testing.T) {
	t.Parallel()
	play(t, "a short queue is served first come, first served", sixteenSeconds, func(s *stage) {
		holder := busy(s)
		four := s.arrivals(4)
		holder.release(offloader.Success)
		for i, want := range []string{
			"admitted waiting waiting waiting",
			"admitted admitted waiting waiting",
			"admitted admitted admitted waiting",
			"admitted admitted admitted admitted",
		} {
			s.want(four, want)
			s.pass(second)
			four[i].release(offloader.Success)
		}
	})
	play(t, "a queue longer than a quarter of the longest wait is served newest first", sixteenSeconds, func(s *stage) {
		holder := busy(s)
		five := s.arrivals(5)
		s.pass(second)
		holder.release(offloader.Success)
		s.want(five, "waiting waiting waiting waiting admitted")
		s.pass(second)
		five[4].release(offloader.Success) // four are left: healthy again
		s.want(five, "admitted waiting waiting waiting admitted")
	})
	play(t, "a snapshot says which end is served", sixteenSeconds, func(s *stage) {
		busy(s)
		s.arrivals(4)
		if s.pool.Snapshot().NewestFirst {
			s.t.Error("newest first with four waiters")
		}
		s.arrive()
		s.pass(second)
		if got := s.pool.Snapshot(); !got.NewestFirst || got.OldestWait != second || got.TypicalRun != second {
			s.t.Errorf("with five waiters, a second later: %+v", got)
		}
	})
	play(t, "order fifo never serves newest first", func(s *offloader.Settings) {
		s.MaxWait, s.Order = 16*second, offloader.OrderFIFO
	}, func(s *stage) {
		holder := busy(s)
		five := s.arrivals(10)
		s.pass(second)
		holder.release(offloader.Success)
		s.want(five, "admitted waiting waiting waiting waiting waiting waiting waiting waiting waiting")
	})
	play(t, "without a longest wait the order never changes", nil, func(s *stage) {
		holder := busy(s)
		ten := s.arrivals(10)
		s.pass(time.Hour)
		holder.release(offloader.Success)
		s.want(ten[:2], "admitted waiting")
	})
	play(t, "a newcomer does not overtake a waiter who was just served", sixteenSeconds, func(s *stage) {
		holder := busy(s)
		two := s.arrivals(1)
		holder.permit.Release(offloader.Success) // the waiter has not woken yet
		two = append(two, s.arrive())
		s.want(two, "admitted waiting")
	})
	play(t, "several permits share the line", func(s *offloader.Settings) {
		s.Concurrency, s.MaxWait = 2, 4*second
	}, func(s *stage) {
		s.learn(second)
		holders := s.arrivals(2)
		two := s.arrivals(2) // a second for two waiters with two permits: healthy
		s.pass(second)
		holders[0].release(offloader.Success)
		s.want(two, "admitted waiting")
		two = append(two, s.arrivals(2)...) // three: no longer
		s.pass(second)
		holders[1].release(offloader.Success)
		s.want(two, "admitted waiting waiting admitted")
	})
}

func TestWaitsThatEnd(t *testing.T) {
	t.Parallel()
	play(t, "a waiter is rejected exactly after the longest wait", sixteenSeconds, func(s *stage) {
		busy(s)
		first := s.arrive()
		s.pass(3 * second)
		second := s.arrive()
		s.at(16*time.Second - 1)
		s.want([]*caller{first, second}, "waiting waiting")
		s.at(16 * time.Second)
		s.want([]*caller{first, second}, "wait_timeout waiting")
		s.at(time.Minute)
		first.wantAnswer("wait_timeout", 16*time.Second)
		second.wantAnswer("wait_timeout", 16*time.Second)
	})
	play(t, "order fifo ends waits as well", func(s *offloader.Settings) {
		s.MaxWait, s.Order = 16*second, offloader.OrderFIFO
	}, func(s *stage) {
		busy(s)
		ten := s.arrivals(10)
		s.at(time.Minute)
		for _, c := range ten {
			c.wantAnswer("wait_timeout", 16*second)
		}
	})
	play(t, "a slow first round lets nobody go", func(s *offloader.Settings) {
		s.Concurrency, s.MaxWait, s.Queue = 2, 16*second, 8
	}, func(s *stage) {
		all := s.arrivals(10)
		s.pass(10 * second) // the run may have loaded a model
		all[0].release(offloader.Success)
		all[1].release(offloader.Success)
		s.want(all[2:], "admitted admitted waiting waiting waiting waiting waiting waiting")
		for i := 2; i < 10; i++ { // and then all are quick
			if i%2 == 0 {
				s.pass(second)
			}
			all[i].release(offloader.Success)
		}
		if got := s.pool.Snapshot().TypicalRun; got != second {
			s.t.Errorf("the mean run is %s", got)
		}
	})
	play(t, "a run of the first round that ends late does not count", sixteenSeconds, func(s *stage) {
		s.configure(func(s *offloader.Settings) { s.Concurrency = 2 })
		first := s.arrivals(2)
		s.pass(second)
		first[0].release(offloader.Success)
		s.run(second, offloader.Success)
		s.pass(time.Hour)
		first[1].release(offloader.Success)
		if got := s.pool.Snapshot().TypicalRun; got != second {
			s.t.Errorf("the mean run is %s", got)
		}
	})
	play(t, "a newcomer to a full and late queue takes the place of the oldest", func(s *offloader.Settings) {
		s.MaxWait, s.Queue = 16*second, 5
	}, func(s *stage) {
		holder := busy(s)
		five := s.arrivals(5)
		six := append(five, s.arrive())
		s.want(six, "queue_full waiting waiting waiting waiting waiting")
		s.pass(second)
		holder.release(offloader.Success)
		s.want(six, "queue_full waiting waiting waiting waiting admitted")
	})
	play(t, "a newcomer to a full and healthy queue is rejected", func(s *offloader.Settings) {
		s.MaxWait, s.Queue = 16*second, 4
	}, func(s *stage) {
		busy(s)
		four := s.arrivals(5)
		s.want(four, "waiting waiting waiting waiting queue_full")
	})
}
