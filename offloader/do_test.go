package offloader_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestDo(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		err     error
		outcome offloader.Outcome
	}{
		"no error is a success":             {nil, offloader.Success},
		"an error is a failure":             {broken, offloader.Failure},
		"a deadline is a failure":           {context.DeadlineExceeded, offloader.Failure},
		"a cancel says nothing":             {context.Canceled, offloader.Excluded},
		"a cancel with a cause is one, too": {fmt.Errorf("the client left: %w", context.Canceled), offloader.Excluded},
	} {
		play(t, name, nil, func(s *stage) {
			err := s.pool.Do(s.t.Context(), func(context.Context) error {
				s.wantGauges("1 of 1 running, 0 waiting")
				return test.err
			})
			if err != test.err {
				s.t.Errorf("error is %v, want %v", err, test.err)
			}
			s.wantEnded(test.outcome)
		})
	}
	play(t, "errors may be judged by the program", nil, func(s *stage) {
		for err, outcome := range map[error]offloader.Outcome{nil: offloader.Failure, broken: offloader.Excluded} {
			before := s.pool.Snapshot().Ended[outcome]
			s.pool.Do(s.t.Context(), func(context.Context) error { return err })
			if got := s.pool.Snapshot().Ended[outcome]; got != before+1 {
				s.t.Errorf("%v: %d ended with %s, want %d", err, got, outcome, before+1)
			}
		}
	}, offloader.WithOutcome(func(err error) offloader.Outcome {
		if err == nil {
			return offloader.Failure
		}
		return offloader.Excluded
	}))
	play(t, "work gets the caller's context", nil, func(s *stage) {
		type key struct{}
		ctx := context.WithValue(s.t.Context(), key{}, "value")
		s.pool.Do(ctx, func(ctx context.Context) error {
			if ctx.Value(key{}) != "value" {
				s.t.Error("another context")
			}
			return nil
		})
	})
	play(t, "who is rejected does not run", func(s *offloader.Settings) {
		s.Queue = 0
	}, func(s *stage) {
		s.arrive()
		err := s.pool.Do(s.t.Context(), func(context.Context) error {
			s.t.Error("ran without a permit")
			return nil
		})
		if !errors.Is(err, offloader.ErrShed) {
			s.t.Errorf("error: %v", err)
		}
	})
	play(t, "a panic passes through as it is, and is a failure", nil, func(s *stage) {
		value := &struct{ text string }{"panic"}
		defer func() {
			if got := recover(); got != value {
				s.t.Errorf("panic with %v, want %v", got, value)
			}
			s.wantEnded(offloader.Failure)
		}()
		s.pool.Do(s.t.Context(), func(context.Context) error { panic(value) })
	})
	play(t, "a goroutine that exits gives its permit back", nil, func(s *stage) {
		go s.pool.Do(s.t.Context(), func(context.Context) error {
			runtime.Goexit()
			return nil
		})
		synctest.Wait()
		s.wantEnded(offloader.Failure)
	})
}

// wantEnded checks that one run has ended, with that outcome.
func (s *stage) wantEnded(outcome offloader.Outcome) {
	s.t.Helper()
	s.wantGauges("0 of 1 running, 0 waiting")
	ended := s.pool.Snapshot().Ended
	if ended[outcome] != 1 || ended[offloader.Success]+ended[offloader.Failure]+ended[offloader.Excluded] != 1 || len(ended) != 3 {
		s.t.Errorf("ended: %v, want one %s", ended, outcome)
	}
}
