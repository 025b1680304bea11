package offloader_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// advice is the advice in whole seconds to n callers after a rejection for that reason.
func (s *stage) advice(r offloader.Reason, n int) (all []time.Duration) {
	s.t.Helper()
	for range n {
		retry := s.pool.Reject(r).NextRetry()
		if retry.Turn < time.Second || retry.Turn > whole(retry) || whole(retry) > time.Minute {
			s.t.Errorf("%s: retry after %+v", r, retry)
		}
		all = append(all, whole(retry))
	}
	return all
}

// wantAdvice checks the shortest and the longest of all.
func (s *stage) wantAdvice(all []time.Duration, shortest, longest time.Duration) {
	s.t.Helper()
	low, high := all[0], all[0]
	for _, d := range all {
		low, high = min(low, d), max(high, d)
	}
	if low != shortest || high != longest {
		s.t.Errorf("retry after %s to %s, want %s to %s", low, high, shortest, longest)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	play(t, "a pool that knows nothing says soon", nil, func(s *stage) {
		s.wantAdvice(s.advice(offloader.QueueFull, 100), second, 2*second)
	})
	play(t, "each rejected stands behind the ones before", func(s *offloader.Settings) {
		s.Concurrency = 2
	}, func(s *stage) {
		s.run(4*second, offloader.Success) // two permits, four seconds: one every two seconds
		for i, d := range s.advice(offloader.QueueFull, 20) {
			s.wantAround(d, time.Duration(i+1)*2*second)
		}
	})
	play(t, "the queue stands before the line", nil, func(s *stage) {
		s.run(second, offloader.Success)
		s.arrivals(11) // ten wait
		s.wantAround(s.advice(offloader.QueueFull, 1)[0], 11*second)
	})
	play(t, "the line drains as time passes", nil, func(s *stage) {
		s.run(second, offloader.Success)
		s.advice(offloader.QueueFull, 40)
		s.pass(30 * second)
		s.wantAround(s.advice(offloader.QueueFull, 1)[0], 11*second)
		s.pass(time.Hour)
		s.wantAround(s.advice(offloader.QueueFull, 1)[0], second)
	})
	play(t, "never more than a minute, with jitter below it", nil, func(s *stage) {
		s.run(time.Hour, offloader.Success)
		s.wantAdvice(s.advice(offloader.PredictedLate, 200), 49*second, time.Minute)
	})
	play(t, "never less than a second", nil, func(s *stage) {
		s.run(1, offloader.Success)
		s.wantAdvice(s.advice(offloader.WaitTimeout, 100), second, second)
	})
	play(t, "who ends says about five seconds", nil, func(s *stage) {
		s.run(time.Hour, offloader.Success)
		s.wantAdvice(s.advice(offloader.Draining, 200), 5*second, 6*second)
		s.wantAdvice(s.advice(offloader.Closed, 200), 5*second, 6*second)
	})
	play(t, "an open breaker says the rest of its cool-down, and up to a second more", fragile, func(s *stage) {
		s.outcomes("f")
		for left := 10; left > 0; left-- {
			want := time.Duration(left) * second
			s.wantAdvice(s.advice(offloader.BreakerOpen, 100), want, want+second)
			s.pass(second)
		}
		s.pass(1) // half-open: a probe is out
		s.wantAdvice(s.advice(offloader.BreakerOpen, 100), second, 2*second)
	})
	play(t, "and rounds it up", fragile, func(s *stage) {
		s.outcomes("f")
		s.pass(second - 1)
		s.wantAdvice(s.advice(offloader.BreakerOpen, 100), 10*second, 11*second)
	})
	play(t, "an open breaker that was switched off since says as if overloaded", fragile, func(s *stage) {
		s.outcomes("f")
		s.configure(func(s *offloader.Settings) { s.Breaker = nil })
		s.wantAdvice(s.advice(offloader.BreakerOpen, 1), second, second)
	})
}

func (s *stage) wantAround(got, want time.Duration) {
	s.t.Helper()
	if got < want*8/10 || got > want*12/10+second {
		s.t.Errorf("retry after %s, want about %s", got, want)
	}
}

// The mean run is the median of the last sixteen runs, the shorter one of two, without
// the first round. It follows a change within a few runs, and no outlier.
func TestMeanRun(t *testing.T) {
	t.Parallel()
	play(t, "moves", nil, func(s *stage) {
		for _, step := range []struct {
			runs      int
			run, want time.Duration
		}{
			{0, 0, 0},
			{1, 9 * second, 9 * second},
			{1, second, second}, // the first round no longer counts
			{1, 3 * second, second},
			{1, 3 * second, 3 * second},
			{1, time.Hour, 3 * second},
			{11, 2 * second, 2 * second},
			{8, 20 * second, 2 * second}, // half of sixteen
			{1, 20 * second, 20 * second},
		} {
			for range step.runs {
				s.run(step.run, offloader.Success)
			}
			if got := s.pool.Snapshot().TypicalRun; got != step.want {
				s.t.Errorf("after %d runs of %s: %s, want %s", step.runs, step.run, got, step.want)
			}
		}
	})
	play(t, "counts permits that do not come free while callers wait", func(s *offloader.Settings) {
		s.Concurrency, s.Queue = 2, 100
	}, func(s *stage) {
		c := newCrowd(s)
		c.come(1, time.Hour)
		c.come(100, second)
		s.pass(50 * second)
		if got := s.pool.Snapshot().TypicalRun; got != 2*second {
			s.t.Errorf("two permits, one of which serves a run each second: a mean run of %s", got)
		}
		s.pass(time.Hour)
		if got := s.pool.Snapshot().TypicalRun; got != second {
			s.t.Errorf("a mean run of %s when nobody waits any more", got)
		}
		c.wantServed()
	})
}

// Two thousand callers that come at once and follow the advice are all served
// in about the time that it takes, with about two tries each.
func TestRetryAfterSpreadsACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, run = 2000, 80 * time.Millisecond // a hundred a second
		settings := offloader.DefaultSettings()
		p, err := offloader.New("reports", settings)
		if err != nil {
			t.Fatal(err)
		}
		work := func(context.Context) error {
			<-time.After(run)
			return nil
		}
		for range 20 { // so that the pool can predict
			if err := p.Do(t.Context(), work); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		var all sync.WaitGroup
		var tries atomic.Int64
		for range callers {
			all.Go(func() {
				for {
					tries.Add(1)
					err := p.Do(t.Context(), work)
					var rejected *offloader.RejectedError
					if !errors.As(err, &rejected) {
						return
					}
					<-time.After(whole(rejected.NextRetry()))
				}
			})
		}
		all.Wait()
		took, each := time.Since(began), float64(tries.Load())/callers
		t.Logf("%d callers served in %s, with %.2f tries each", callers, took.Round(time.Millisecond), each)
		if ideal := callers * run / time.Duration(settings.Concurrency); took > ideal*13/10 {
			t.Errorf("took %s, ideal is %s", took, ideal)
		}
		if each > 2.3 {
			t.Errorf("%.2f tries each", each)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
