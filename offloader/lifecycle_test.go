package offloader_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// ending is a call of Drain or Close.
type ending struct {
	done  chan struct{}
	err   error
	after time.Duration
}

func (s *stage) drain() *ending { return s.end(context.Background(), s.pool.Drain) }
func (s *stage) close() *ending { return s.end(context.Background(), s.pool.Close) }

func (s *stage) end(ctx context.Context, how func(context.Context) error) *ending {
	e := &ending{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(e.done)
		e.err = how(ctx)
		e.after = time.Since(began)
	}()
	synctest.Wait()
	return e
}

func (s *stage) wantNotEnded(e *ending) {
	s.t.Helper()
	select {
	case <-e.done:
		s.t.Errorf("ended after %s with error %v", e.after, e.err)
	default:
	}
}

func (s *stage) wantEndedWith(e *ending, want error) {
	s.t.Helper()
	synctest.Wait()
	select {
	case <-e.done:
		if !errors.Is(e.err, want) {
			s.t.Errorf("ended with error %v, want %v", e.err, want)
		}
	default:
		s.t.Error("not ended yet")
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	play(t, "waits for runs and waiters, and rejects newcomers", nil, func(s *stage) {
		all := s.arrivals(2)
		drained := s.drain()
		all = append(all, s.arrive())
		s.want(all, "admitted waiting draining")
		if got := s.pool.Snapshot().Phase; got != offloader.PhaseDraining {
			s.t.Errorf("phase %s", got)
		}
		all[0].release(offloader.Success)
		s.want(all, "admitted admitted draining")
		s.wantNotEnded(drained)
		all[1].release(offloader.Success)
		s.wantEndedWith(drained, nil)
	})
	play(t, "an idle pool is drained at once, even if there is no time", nil, func(s *stage) {
		for range 100 {
			if err := s.pool.Drain(ended(errLeft)); err != nil {
				s.t.Fatal(err)
			}
		}
	})
	for name, go_ := range map[string]func(s *stage, waiter *caller){
		"the last waiter leaves":     func(_ *stage, c *caller) { c.leave(errLeft) },
		"the last waiter times out":  func(s *stage, _ *caller) { s.pass(16 * second) },
		"the breaker refuses it":     func(s *stage, _ *caller) { s.came[0].release(offloader.Failure) },
		"the pool is closed":         func(s *stage, _ *caller) { s.close() },
		"its deadline is not met":    func(s *stage, _ *caller) { s.pass(15 * second) },
		"a shorter wait is set":      func(s *stage, _ *caller) { s.configure(func(s *offloader.Settings) { s.MaxWait = 1 }) },
		"a lingering permit is left": func(s *stage, c *caller) { c.leave(errLeft) },
	} {
		play(t, "ends when "+name, func(s *offloader.Settings) {
			s.Concurrency, s.MaxWait, s.Linger = 2, 16*second, time.Hour
			s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: second, Probes: 1}
		}, func(s *stage) {
			runs := s.arrivals(2)
			ctx, cancel := context.WithTimeout(context.Background(), 15*second)
			if name == "the last waiter times out" {
				ctx = context.Background()
			}
			defer cancel()
			waiter := s.arriveWith(ctx)
			drained := s.drain()
			runs[1].finished = true
			runs[1].permit.ReleaseCancelled(offloader.Excluded)
			if name != "the breaker refuses it" {
				runs[0].finished = true
				runs[0].permit.ReleaseCancelled(offloader.Excluded)
			}
			s.pass(second)
			s.wantNotEnded(drained)
			go_(s, waiter)
			s.wantEndedWith(drained, nil)
		})
	}
	play(t, "its context ends first, and it can be asked again", nil, func(s *stage) {
		run := s.arrive()
		ctx, cancel := context.WithTimeoutCause(s.t.Context(), second, errLeft)
		defer cancel()
		drained := s.end(ctx, s.pool.Drain)
		s.pass(second)
		s.wantEndedWith(drained, errLeft)
		if drained.after != second {
			s.t.Errorf("ended after %s", drained.after)
		}
		again, together := s.drain(), s.drain()
		s.wantNotEnded(again)
		run.release(offloader.Success)
		s.wantEndedWith(again, nil)
		s.wantEndedWith(together, nil)
	})
	play(t, "a resumed pool admits again", nil, func(s *stage) {
		run := s.arrive()
		drained := s.drain()
		s.pool.Resume()
		if got := s.pool.Snapshot().Phase; got != offloader.PhaseOpen {
			s.t.Errorf("phase %s", got)
		}
		all := s.arrivals(1)
		s.want(all, "waiting")
		run.release(offloader.Success)
		s.want(all, "admitted")
		s.wantNotEnded(drained)
		all[0].release(offloader.Success)
		s.wantEndedWith(drained, nil)
		s.run(second, offloader.Success)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	play(t, "rejects waiters and newcomers, and waits for runs", sixteenSeconds, func(s *stage) {
		all := s.arrivals(3)
		closed := s.close()
		all = append(all, s.arrive())
		s.want(all, "admitted closed closed closed")
		if got := s.pool.Snapshot(); got.Phase != offloader.PhaseClosed || got.Rejected[offloader.Closed] != 3 {
			s.t.Errorf("snapshot: %+v", got)
		}
		s.wantNotEnded(closed)
		s.pass(time.Hour)
		all[0].release(offloader.Success)
		s.wantEndedWith(closed, nil)
		if closed.after != time.Hour {
			s.t.Errorf("closed after %s", closed.after)
		}
	})
	play(t, "its context ends first, and it can be called again", nil, func(s *stage) {
		run := s.arrive()
		s.wantEndedWith(s.end(ended(errLeft), s.pool.Close), errLeft)
		again := s.close()
		s.wantNotEnded(again)
		run.release(offloader.Success)
		s.wantEndedWith(again, nil)
		s.wantEndedWith(s.close(), nil)
	})
	play(t, "nothing comes after it", nil, func(s *stage) {
		s.wantEndedWith(s.close(), nil)
		s.pool.Resume()
		s.wantEndedWith(s.drain(), nil)
		s.want(s.arrivals(1), "closed")
	})
	play(t, "a drain that waits ends with it", nil, func(s *stage) {
		all := s.arrivals(2)
		drained := s.drain()
		closed := s.close()
		all[0].release(offloader.Success)
		s.want(all, "admitted closed")
		s.wantEndedWith(drained, nil)
		s.wantEndedWith(closed, nil)
	})
}
