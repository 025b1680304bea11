package offloader_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// stream adds a caller whose request body is not spooled.
func (s *stage) stream() *caller {
	return s.arriveAt(context.Background(), &offloader.Ticket{Pool: s.pool, CappedBy: unspooledLimit})
}

func (s *stage) streams(n int) []*caller {
	all := make([]*caller, n)
	for i := range all {
		all[i] = s.stream()
	}
	return all
}

func permits(n int) func(*offloader.Settings) {
	return func(s *offloader.Settings) { s.Concurrency = n }
}

// Callers that decide by themselves how long they hold a permit leave half of them to
// others, however many come.
func TestUnspooledBodiesLeaveHalfOfThePermits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		permits int
		want    string
	}{
		{"one permit", 1, "admitted unspooled_limit unspooled_limit unspooled_limit unspooled_limit"},
		{"two", 2, "admitted unspooled_limit unspooled_limit unspooled_limit unspooled_limit"},
		{"five", 5, "admitted admitted unspooled_limit unspooled_limit unspooled_limit"},
		{"eight", 8, "admitted admitted admitted admitted unspooled_limit"},
		{"no limit", 0, "admitted admitted admitted admitted admitted"},
	} {
		play(t, tt.name, permits(tt.permits), func(s *stage) {
			streams := s.streams(5)
			s.want(streams, tt.want)
			if tt.permits == 8 {
				s.want(s.arrivals(5), "admitted admitted admitted admitted waiting")
			}
			var rejected *offloader.RejectedError
			if err := streams[4].err; errors.As(err, &rejected) && rejected.NextRetry().Turn < time.Second {
				s.t.Errorf("advised to come back after %+v", rejected.NextRetry())
			}
		})
	}
}

// A permit of the half comes back with the run, however it ends, and before that with
// the end of the body.
func TestUnspooledBodiesEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *caller){
		"with the run":    func(c *caller) { c.release(offloader.Success) },
		"with its cancel": func(c *caller) { c.finished = true; c.permit.ReleaseCancelled(offloader.Excluded) },
		"as a tunnel":     func(c *caller) { c.finished = true; c.permit.Detach(); c.s.pool.EndDetached() },
		"by themselves":   func(c *caller) { c.permit.Uncap(); c.permit.Uncap() },
	} {
		play(t, name, func(s *offloader.Settings) { s.Concurrency, s.Linger = 4, time.Minute }, func(s *stage) {
			first := s.streams(3)
			s.want(first, "admitted admitted unspooled_limit")
			end(first[0])
			s.want(s.streams(2), "admitted unspooled_limit")
			first[0].permit.Uncap() // an old permit, or a second time: nothing
			s.want(s.streams(1), "unspooled_limit")
		})
	}
	play(t, "of an old permit", permits(2), func(s *stage) {
		old := s.stream()
		old.release(offloader.Success)
		s.want(s.streams(1), "admitted")
		old.permit.Uncap()
		s.want(s.streams(1), "unspooled_limit")
	})
}

// A waiter is rejected if the half is taken when its turn comes: a permit goes
// to the next one.
func TestUnspooledBodiesThatWait(t *testing.T) {
	t.Parallel()
	play(t, "beyond the half", permits(2), func(s *stage) {
		busy := s.arrivals(2)
		waiting := append(s.streams(2), s.arrive())
		s.want(waiting, "waiting waiting waiting")
		busy[0].release(offloader.Success)
		s.want(waiting, "admitted waiting waiting")
		busy[1].release(offloader.Success)
		s.want(waiting, "admitted unspooled_limit admitted")
	})
	play(t, "within it", permits(2), func(s *stage) {
		busy, waiting := s.arrivals(2), s.streams(1)
		busy[0].release(offloader.Success)
		s.want(waiting, "admitted")
	})
	play(t, "a smaller pool", permits(8), func(s *stage) {
		s.want(s.streams(4), "admitted admitted admitted admitted")
		s.pool.Configure(offloader.Settings{Concurrency: 4, Queue: 10})
		s.want(s.streams(1), "unspooled_limit")
	})
}

// AcquireNow returns a free permit, and leaves no trace if there is none.
func TestAcquireNow(t *testing.T) {
	t.Parallel()
	now := func(s *stage) string {
		permit, err := (&offloader.Ticket{Pool: s.pool, CappedBy: unspooledLimit}).AcquireNow()
		permit.Release(offloader.Success)
		if errors.Is(err, offloader.ErrNotNow) {
			return "not now"
		}
		return word(err)
	}
	for name, tt := range map[string]struct {
		before func(s *stage)
		want   string
	}{
		"a free permit":     {func(*stage) {}, "admitted"},
		"the half is taken": {func(s *stage) { s.streams(2) }, "not now"},
		"all are taken":     {func(s *stage) { s.arrivals(4) }, "not now"},
		"others wait":       {func(s *stage) { s.pool.Pause(); s.arrivals(1) }, "not now"},
		"draining":          {func(s *stage) { s.pool.Drain(ended(nil)) }, "not now"},
	} {
		play(t, name, permits(4), func(s *stage) {
			tt.before(s)
			rejected := len(s.pool.Snapshot().Rejected)
			if got := now(s); got != tt.want {
				s.t.Errorf("got %s, want %s", got, tt.want)
			}
			if after := len(s.pool.Snapshot().Rejected); after != rejected {
				s.t.Errorf("a rejection was counted: %v", s.pool.Snapshot().Rejected)
			}
		})
	}
	play(t, "an open breaker", func(s *offloader.Settings) { s.Breaker = inARow(1) }, func(s *stage) {
		s.run(0, offloader.Failure)
		if got := now(s); got != "not now" {
			s.t.Errorf("got %s", got)
		}
	})
}

// Eight callers that never give a permit back, and come again when they are rejected, cost
// others nothing: with half of a default pool they are served, nearly at once.
func TestHonestCallersBesideUnspooledBodies(t *testing.T) {
	t.Parallel()
	const run = 100 * time.Millisecond
	play(t, "a default pool", func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 8, 100, 10*time.Second
	}, func(s *stage) {
		attack, stop := context.WithCancelCause(context.Background())
		held := 0
		for range 8 {
			go func() {
				for attack.Err() == nil {
					if c, err := (&offloader.Ticket{Pool: s.pool, CappedBy: unspooledLimit}).Acquire(attack); err == nil {
						held++
						<-attack.Done()
						c.Release(offloader.Excluded)
					}
					<-time.After(7 * time.Millisecond)
				}
			}()
			s.pass(time.Millisecond)
		}
		c := newCrowd(s)
		c.every(run/3, time.Minute, run)
		c.all.Wait()
		waits := c.take()
		served := waits["admitted"]
		slices.Sort(served)
		if len(served) < c.came*99/100 || served[len(served)*9/10]+run > 3*run {
			s.t.Errorf("%d of %d served, 90 of 100 within %s, rest %v", len(served), c.came, served[len(served)*9/10]+run, waits)
		}
		if got := s.pool.Snapshot(); held != 4 || got.Capped != 4 {
			s.t.Errorf("the attack holds %d permits, %d counted", held, got.Capped)
		}
		stop(errLeft)
		s.pass(time.Second)
	})
}
