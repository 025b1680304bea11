package offloader_test

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// ask lets a preflight come.
func (s *stage) ask(ctx context.Context) *caller {
	return s.arriveAt(ctx, &offloader.Ticket{Pool: s.pool, Caller: guestFrom(1, 1), Preflight: true})
}

func (s *stage) asks(n int) (all []*caller) {
	for range n {
		all = append(all, s.ask(context.Background()))
	}
	return all
}

func (s *stage) wantPreflights(running, preflights, waiting int) {
	s.t.Helper()
	if n := s.pool.Snapshot(); n.Running != running || n.Preflights != preflights || n.Waiting != waiting {
		s.t.Errorf("%d run, %d preflights, %d wait; want %d, %d, %d", n.Running, n.Preflights, n.Waiting, running, preflights, waiting)
	}
}

// Preflights run without permits, in a full pool too.
func TestPreflights(t *testing.T) {
	t.Parallel()
	two := func(s *offloader.Settings) { s.Concurrency, s.Queue = 2, 4 }
	play(t, "as many as there are permits, and then they wait before all others", two, func(s *stage) {
		others := s.arrivals(4)
		asks := s.asks(3)
		s.want(append(others, asks...), "admitted admitted waiting waiting admitted admitted waiting")
		s.wantPreflights(2, 2, 3)
		if first := s.pool.Waiters()[0].Ticket; !first.Preflight {
			s.t.Error("another one is first")
		}
		others[0].release(offloader.Success)
		s.want(append(others[1:], asks[2]), "admitted admitted waiting waiting")
		asks[0].release(offloader.Success)
		s.want(asks[1:], "admitted admitted")
		s.wantPreflights(2, 2, 1)
	})
	play(t, "within the queue", func(s *offloader.Settings) { s.Queue = 1 }, func(s *stage) {
		s.arrivals(2)
		s.want(s.asks(2), "admitted queue_full")
	})
	play(t, "and without one", func(s *offloader.Settings) { s.Queue = 0 }, func(s *stage) {
		s.arrive()
		s.want(s.asks(2), "admitted queue_full")
		s.want(s.arrivals(1), "queue_full")
	})
	play(t, "not in a pause", nil, func(s *stage) {
		s.pool.Pause()
		asks := s.asks(1)
		s.want(asks, "waiting")
		s.pool.Resume()
		s.pass(0)
		s.want(asks, "admitted")
	})
	play(t, "not past a drain, which waits for them", nil, func(s *stage) {
		ask := s.asks(1)[0]
		drained := s.drain()
		s.want(s.asks(1), "draining")
		s.wantNotEnded(drained)
		ask.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "not past an open breaker", fragile, func(s *stage) {
		s.outcomes("f")
		s.want(s.asks(1), "breaker_open")
	})
	play(t, "one at a time while the pool warms up", func(s *offloader.Settings) {
		fragile(s)
		s.Concurrency = 4
	}, func(s *stage) {
		s.outcomes("f")
		s.pass(10*second + 1)
		s.outcomes("s")
		s.want(s.asks(2), "admitted waiting")
	})
	play(t, "until their deadline", nil, func(s *stage) {
		s.asks(1)
		ctx, cancel := context.WithTimeout(context.Background(), second)
		defer cancel()
		ask := s.ask(ctx)
		s.pass(second)
		ask.wantAnswer("wait_timeout", second)
	})
	play(t, "for the longest wait", func(s *offloader.Settings) { s.MaxWait = 3 * second }, func(s *stage) {
		ask := s.asks(2)[1]
		s.pass(5 * second)
		ask.wantAnswer("wait_timeout", 3*second)
	})
	play(t, "until they leave", nil, func(s *stage) {
		ask := s.asks(2)[1]
		ask.leave(errLeft)
		s.pass(0)
		s.want([]*caller{ask}, "left")
		s.wantPreflights(0, 1, 0)
	})
	play(t, "without a word about how long runs take", nil, func(s *stage) {
		s.learn(10 * second)
		for range 20 {
			s.asks(1)[0].release(offloader.Success)
		}
		if got := s.pool.Snapshot().TypicalRun; got != 10*second {
			s.t.Errorf("a run takes %s", got)
		}
	})
	play(t, "without permits that linger or are abandoned", func(s *offloader.Settings) { s.Linger = time.Minute }, func(s *stage) {
		ask := s.asks(1)[0]
		ask.permit.Abandon()
		if got := s.pool.Snapshot().Abandoned; got != 0 {
			s.t.Errorf("%d abandoned", got)
		}
		ask.finished = true
		ask.permit.ReleaseCancelled(offloader.Excluded)
		s.wantPreflights(0, 0, 0)
	})
	play(t, "without turns", twoPlaces, func(s *stage) {
		fullHouse(s)
		told := s.visit(guestFrom(1, 1)).told()
		s.pass(told)
		s.asks(2)
		s.want([]*caller{s.visit(guestFrom(1, 1)).caller}, "waiting")
	})
	play(t, "while a pool before has all permits", two, func(s *stage) {
		s.arrivals(2)
		heir := s.open(offloader.Settings{Concurrency: 2})
		succeed(s.t, heir, s.pool).Bind()
		ticket := &offloader.Ticket{Pool: heir, Preflight: true}
		s.want([]*caller{s.arriveAt(context.Background(), ticket)}, "admitted")
	})
}
