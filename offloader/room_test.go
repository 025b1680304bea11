package offloader_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	play(t, "permits first, then places, then a rejection", func(s *offloader.Settings) {
		s.Concurrency, s.Queue = 2, 3
	}, func(s *stage) {
		six := s.arrivals(6)
		s.want(six, "admitted admitted waiting waiting waiting queue_full")
		s.wantGauges("2 of 2 running, 3 waiting")
	})
	play(t, "a queue of zero rejects when all permits are taken", func(s *offloader.Settings) {
		s.Queue, s.MaxWait = 0, second
	}, func(s *stage) {
		s.run(second, offloader.Success)
		two := s.arrivals(2)
		s.want(two, "admitted queue_full")
		s.finish()
		s.run(second, offloader.Success)
	})
	play(t, "a concurrency of zero admits everybody", func(s *offloader.Settings) {
		s.Concurrency, s.Queue = 0, 0
	}, func(s *stage) {
		all := s.arrivals(100)
		for _, c := range all {
			c.wantAnswer("admitted", 0)
		}
		if got := s.pool.Snapshot(); got.Running != 100 || got.Concurrency != 0 || got.Limit != 0 {
			s.t.Errorf("snapshot: %+v", got)
		}
	})
	play(t, "a pool without limit asks those whom it rejects to come back soon", func(s *offloader.Settings) {
		s.Concurrency = 0
	}, func(s *stage) {
		s.run(100*second, offloader.Success)
		if got := s.pool.Reject(spoolFull).NextRetry(); whole(got) > 2*second {
			s.t.Errorf("come back in %+v", got)
		}
	})
	play(t, "TryAcquire never waits", nil, func(s *stage) {
		permit, err := s.pool.TryAcquire()
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.pool.TryAcquire(); word(err) != "queue_full" {
			s.t.Errorf("second TryAcquire: %v", err)
		}
		waiter := s.arrive()
		permit.Release(offloader.Success) // handed to the waiter, which came first
		if _, err := s.pool.TryAcquire(); word(err) != "queue_full" {
			s.t.Errorf("TryAcquire after the hand-over: %v", err)
		}
		synctest.Wait()
		waiter.release(offloader.Success)
		permit, err = s.pool.TryAcquire()
		if err != nil {
			s.t.Errorf("TryAcquire at the end: %v", err)
		}
		permit.Release(offloader.Success)
	})
	play(t, "the totals count each caller once", func(s *offloader.Settings) {
		s.Queue = 1
	}, func(s *stage) {
		all := s.arrivals(3) // admitted, waiting, rejected
		all[1].leave(errLeft)
		synctest.Wait()
		s.want(all, "admitted left queue_full")
		s.finish()
		got := s.pool.Snapshot()
		if got.Admitted != 1 || got.Left != 1 || got.Rejected[offloader.QueueFull] != 1 || len(got.Rejected) != 1 ||
			got.Ended[offloader.Excluded] != 1 || got.Ended[offloader.Success] != 0 {
			s.t.Errorf("totals: %+v", got)
		}
	})
}

// In every state of the pool, Check reports what Acquire would do at once.
func TestCheckAgreesWithAcquire(t *testing.T) {
	t.Parallel()
	trip := func(s *stage) { s.run(0, offloader.Failure) }
	for name, state := range map[string]struct {
		prepare func(s *stage)
		want    string
	}{
		"permits are free":           {func(*stage) {}, ""},
		"places are free":            {func(s *stage) { s.arrive() }, ""},
		"queue full":                 {func(s *stage) { s.arrivals(3) }, "queue_full"},
		"queue full, oldest is late": {func(s *stage) { busy(s); s.pool.Configure(late); s.arrivals(2) }, ""},
		"draining":                   {func(s *stage) { s.pool.Drain(ended(nil)) }, "draining"},
		"closed":                     {func(s *stage) { s.pool.Close(ended(nil)) }, "closed"},
		"breaker open":               {trip, "breaker_open"},
		"breaker half-open":          {func(s *stage) { trip(s); s.pass(second + 1) }, ""},
		"a probe is out":             {func(s *stage) { trip(s); s.pass(second + 1); s.arrive() }, "breaker_open"},
		"draining, breaker open":     {func(s *stage) { trip(s); s.pool.Drain(ended(nil)) }, "draining"},
		"closed, breaker open":       {func(s *stage) { trip(s); s.pool.Close(ended(nil)) }, "closed"},
	} {
		play(t, name, func(s *offloader.Settings) {
			s.Queue = 2
			s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: second, Probes: 1}
		}, func(s *stage) {
			state.prepare(s)
			check := s.pool.RejectEarly()
			if got := wordOrNone(check); got != state.want {
				s.t.Errorf("Check says %q, want %q", got, state.want)
			}
			got := s.arrive().state()
			if check == nil && got != "admitted" && got != "waiting" || check != nil && got != state.want {
				s.t.Errorf("Check says %v and Acquire %s", check, got)
			}
		})
	}
}

// late makes a queue of two with a line that is a second long too late.
var late = offloader.Settings{Concurrency: 1, Queue: 2, MaxWait: 3 * second}

func wordOrNone(err error) string {
	if err == nil {
		return ""
	}
	return word(err)
}

func TestRejectionsHaveClasses(t *testing.T) {
	t.Parallel()
	play(t, "each reason belongs to one class at most", nil, func(s *stage) {
		for _, reason := range offloader.Reasons() {
			err := error(s.pool.Reject(reason))
			got := map[error]bool{}
			for _, class := range []error{offloader.ErrShed, offloader.ErrBreakerOpen, offloader.ErrClosed} {
				got[class] = errors.Is(err, class)
			}
			want := map[error]bool{offloader.ErrShed: false, offloader.ErrBreakerOpen: false, offloader.ErrClosed: false}
			switch reason {
			case offloader.QueueFull, offloader.WaitTimeout, offloader.PredictedLate, offloader.Displaced, offloader.KeyQueueFull:
				want[offloader.ErrShed] = true
			case offloader.BreakerOpen:
				want[offloader.ErrBreakerOpen] = true
			case offloader.Draining, offloader.Closed:
				want[offloader.ErrClosed] = true
			}
			for class := range want {
				if got[class] != want[class] {
					s.t.Errorf("%v is %v: %t", err, class, got[class])
				}
			}
		}
	})
}
