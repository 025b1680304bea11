package offloader_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// upload announces a caller that still sends its request.
func (s *stage) upload() *offloader.Ticket {
	s.t.Helper()
	ticket := &offloader.Ticket{Pool: s.pool}
	if err := ticket.Announce(); err != nil {
		s.t.Fatalf("an upload is %s", word(err))
	}
	return ticket
}

// arriveAfter lets the caller of an upload come.
func (s *stage) arriveAfter(upload *offloader.Ticket) *caller {
	return s.arriveAt(context.Background(), upload)
}

func (s *stage) wantUploading(want int) {
	s.t.Helper()
	if got := s.pool.Snapshot().Announced; got != want {
		s.t.Errorf("%s in: %d uploading, want %d", time.Since(s.began), got, want)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	play(t, "a drain waits for it, its run included, and lets it through", nil, func(s *stage) {
		upload := s.upload()
		s.wantUploading(1)
		drained := s.drain()
		if err := (&offloader.Ticket{Pool: s.pool}).Announce(); word(err) != "draining" {
			s.t.Errorf("another upload is %s", word(err))
		}
		s.want(s.arrivals(1), "draining")
		s.pass(time.Hour)
		s.wantNotEnded(drained)
		run := s.arriveAfter(upload)
		s.wantUploading(0)
		s.want([]*caller{run}, "admitted")
		s.wantNotEnded(drained)
		run.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "after it the caller waits like others, while the pool drains", nil, func(s *stage) {
		run, upload := s.arrive(), s.upload()
		drained := s.drain()
		waiter := s.arriveAfter(upload)
		s.wantUploading(0)
		s.want([]*caller{run, waiter}, "admitted waiting")
		run.release(offloader.Success)
		s.want([]*caller{waiter}, "admitted")
		s.wantNotEnded(drained)
		waiter.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "one that is given up ends a drain", nil, func(s *stage) {
		upload := s.upload()
		drained := s.drain()
		upload.Withdraw()
		upload.Withdraw()
		s.wantUploading(0)
		s.wantEndedWith(drained, nil)
		s.want([]*caller{s.arriveAfter(upload)}, "draining") // it is a newcomer now
	})
	play(t, "it passes one drain, not those that come after its run", nil, func(s *stage) {
		upload := s.upload()
		first := s.arriveAfter(upload)
		first.release(offloader.Success)
		s.drain()
		s.want([]*caller{s.arriveAfter(upload)}, "draining")
	})
	play(t, "holds neither a permit nor a place", func(s *offloader.Settings) { s.Queue = 1 }, func(s *stage) {
		uploads := []*offloader.Ticket{s.upload(), s.upload(), s.upload()}
		s.wantGauges("0 of 1 running, 0 waiting")
		others := s.arrivals(2)
		s.want(others, "admitted waiting")
		if err := (&offloader.Ticket{Pool: s.pool}).Announce(); word(err) != "queue_full" {
			s.t.Errorf("an upload to a full pool is %s", word(err))
		}
		s.want([]*caller{s.arriveAfter(uploads[0])}, "queue_full")
		s.wantUploading(2)
		uploads[1].Withdraw()
		uploads[2].Withdraw()
	})
	play(t, "a closed pool rejects it when it is over, and waits until then", nil, func(s *stage) {
		upload := s.upload()
		closed := s.close()
		s.wantNotEnded(closed)
		s.want([]*caller{s.arriveAfter(upload)}, "closed")
		s.wantEndedWith(closed, nil)
	})
	play(t, "waits for its permit while the pool is paused", nil, func(s *stage) {
		upload := s.upload()
		s.pool.Pause()
		waiter := s.arriveAfter(upload)
		s.want([]*caller{waiter}, "waiting")
		drained := s.drain()
		s.want([]*caller{waiter}, "admitted")
		waiter.release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "a reload that changes the limits keeps it", nil, func(s *stage) {
		uploads := []*offloader.Ticket{s.upload(), s.upload()}
		s.configure(func(s *offloader.Settings) { s.Concurrency, s.Queue = 2, 0 })
		runs := []*caller{s.arriveAfter(uploads[0]), s.arriveAfter(uploads[1])}
		s.want(runs, "admitted admitted")
	})
}

// After any end of an upload it is no longer counted, and a drain ends.
func TestUploadLeaves(t *testing.T) {
	t.Parallel()
	for name, scene := range map[string]struct {
		want  string
		comes func(s *stage, upload *offloader.Ticket) *caller
	}{
		"its client has left": {"left", func(s *stage, upload *offloader.Ticket) *caller {
			return s.arriveAt(ended(errLeft), upload)
		}},
		"its deadline has passed": {"wait_timeout", func(s *stage, upload *offloader.Ticket) *caller {
			ctx, cancel := context.WithTimeout(context.Background(), -1)
			defer cancel()
			return s.arriveAt(ctx, upload)
		}},
		"the breaker is open by then": {"breaker_open", func(s *stage, upload *offloader.Ticket) *caller {
			s.pool.ForceBreaker(offloader.BreakerForcedOpen)
			return s.arriveAfter(upload)
		}},
		"it waits for too long": {"wait_timeout", func(s *stage, upload *offloader.Ticket) *caller {
			s.arrive()
			c := s.arriveAfter(upload)
			s.pass(16 * second)
			return c
		}},
		"it is cancelled in the queue": {"cancelled", func(s *stage, upload *offloader.Ticket) *caller {
			s.arrive()
			c := s.arriveAfter(upload)
			upload.Cancel()
			return c
		}},
	} {
		play(t, name, sixteenSeconds, func(s *stage) {
			upload := s.upload()
			c := scene.comes(s, upload)
			s.pass(0)
			s.want([]*caller{c}, scene.want)
			s.wantUploading(0)
			drained := s.drain()
			s.finish()
			s.wantEndedWith(drained, nil)
		})
	}
}

// A caller of a call that was admitted before passes a drain, but no other rejection.
func TestPassDrain(t *testing.T) {
	t.Parallel()
	play(t, "drains", nil, func(s *stage) {
		s.drain()
		inner := &offloader.Ticket{Pool: s.pool, PassDrain: true}
		if err := inner.Announce(); err != nil {
			s.t.Fatal(err)
		}
		all := []*caller{s.arriveAfter(inner), s.arriveAfter(&offloader.Ticket{Pool: s.pool, PassDrain: true}), s.arrive()}
		s.want(all, "admitted waiting draining")
		s.close()
		s.want([]*caller{all[1], s.arriveAfter(inner)}, "closed closed")
	})
}

// Wait changes nothing: newcomers are admitted meanwhile, and it waits for them too.
func TestWait(t *testing.T) {
	t.Parallel()
	play(t, "wait", nil, func(s *stage) {
		if err := s.pool.Wait(ended(errLeft)); err != nil {
			s.t.Error(err)
		}
		run := s.arrive()
		waited := s.end(context.Background(), s.pool.Wait)
		waiter := s.arrive()
		run.release(offloader.Success)
		s.want([]*caller{waiter}, "admitted")
		s.wantNotEnded(waited)
		waiter.release(offloader.Success)
		s.wantEndedWith(waited, nil)
	})
}

// An upload takes the turn of a client that was rejected before into account.
func TestUploadAtItsTurn(t *testing.T) {
	t.Parallel()
	comeBack := func(s *stage) *offloader.Ticket {
		s.t.Helper()
		s.pass(s.visit(guestFrom(1, 1)).told())
		ticket := &offloader.Ticket{Pool: s.pool, Caller: guestFrom(1, 1)}
		if err := ticket.Announce(); err != nil {
			s.t.Fatalf("an upload at its turn is %s", word(err))
		}
		return ticket
	}
	play(t, "it is let in although the queue is full, and waits in front", twoPlaces, func(s *stage) {
		running, waiting := fullHouse(s)
		upload := comeBack(s)
		if err := (&offloader.Ticket{Pool: s.pool, Caller: guestFrom(2, 1)}).Announce(); word(err) != "queue_full" {
			s.t.Errorf("an upload without a turn is %s", word(err))
		}
		s.pass(second)
		s.want(waiting, "waiting waiting")
		back := s.arriveAfter(upload)
		s.want(append(waiting, back), "waiting queue_full waiting")
		running.release(offloader.Success)
		s.want([]*caller{waiting[0], back}, "waiting admitted")
	})
	play(t, "also when the pool has begun to drain meanwhile", twoPlaces, func(s *stage) {
		running, waiting := fullHouse(s)
		upload := comeBack(s)
		drained := s.drain()
		back := s.arriveAfter(upload)
		s.want(append(waiting, back), "waiting queue_full waiting")
		running.release(offloader.Success)
		s.want([]*caller{waiting[0], back}, "waiting admitted")
		s.finish()
		s.wantEndedWith(drained, nil)
	})
	play(t, "one that comes early is told of the same turn", twoPlaces, func(s *stage) {
		fullHouse(s)
		told := s.visit(guestFrom(1, 1)).told()
		s.pass(second)
		ticket := &offloader.Ticket{Pool: s.pool, Caller: guestFrom(1, 2)}
		rejected, ok := errors.AsType[*offloader.RejectedError](ticket.Announce())
		if !ok {
			s.t.Fatal("an early upload is not refused")
		}
		if got := whole(ticket.NextRetry(rejected.Reason)); got != told-second {
			s.t.Errorf("told %s, and a second later %s", told, got)
		}
	})
}
