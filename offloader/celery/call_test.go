package celery_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

func TestStatesOfACall(t *testing.T) {
	t.Parallel()
	echo := celery.Task{Name: "lab.echo"}
	play(t, "the newest unread progress counts", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		m := s.take()
		for n := range 1000 {
			s.report(m, "PROGRESS", fmt.Sprint(n))
		}
		if result, err := call.Next(s.ctx); err != nil || string(result.Value) != "999" {
			t.Errorf("%s %v", result.Value, err)
		}
	})
	play(t, "the final state is not passed over and stays", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		m := s.take()
		s.report(m, "PROGRESS", "1")
		s.report(m, celery.Success, "2")
		for range 3 { // that come too late
			s.report(m, celery.Retry, "null")
			s.report(m, celery.Success, "3")
			if result, err := call.Next(s.ctx); err != nil || string(result.Value) != "2" {
				t.Errorf("%s %s %v", result.State, result.Value, err)
			}
		}
	})
	play(t, "a failure that is reported twice is one", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		m := s.take()
		s.report(m, celery.Failure, `{"exc_type": "TimeLimitExceeded", "exc_message": [1]}`)
		s.report(m, celery.Failure, `{"exc_type": "TimeLimitExceeded", "exc_message": [1]}`)
		result, err := call.Wait(s.ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.wantError(result.Err(), celery.ErrTimeLimit)
	})
	play(t, "a revoked task stays revoked, though it runs to its end", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		m := s.take()
		s.report(m, celery.Revoked, `{"exc_type": "TaskRevokedError", "exc_message": ["revoked"]}`)
		s.report(m, celery.Success, "1")
		result, err := call.Wait(s.ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.wantError(result.Err(), celery.ErrRevoked)
	})
	play(t, "a loss after the end does not count", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		s.report(s.take(), celery.Success, "2")
		s.memory.Lose(celery.ErrResultLost)
		if result, err := call.Next(s.ctx); err != nil || string(result.Value) != "2" {
			t.Errorf("%s %v", result.Value, err)
		}
	})
	play(t, "states of other names are progress", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		m := s.take()
		for _, state := range []celery.State{celery.Received, celery.Started, celery.Retry, "HALF WAY", "success"} {
			s.report(m, state, "null")
			if result, err := call.Next(s.ctx); err != nil || result.State != state || result.State.Final() {
				t.Errorf("%s %v", result.State, err)
			}
		}
	})
}

// The fixtures of all outcomes, reported by a worker that plays them.
func TestEveryCapturedOutcomeEndsTheWait(t *testing.T) {
	t.Parallel()
	for _, c := range golden[reportedCases](t, "redis-results-5.6.3.json").Cases {
		if c.TaskID == "" || len(c.Published) == 0 || c.Case == "Ignore after custom state" {
			continue
		}
		play(t, c.Case, celery.Settings{}, func(s *stage) {
			call := s.start(celery.Task{Name: "lab.any", ID: c.TaskID})
			defer call.Close()
			m := s.take()
			for _, p := range c.Published {
				_ = s.memory.Report(s.ctx, m, []byte(p.Payload))
			}
			result, err := call.Wait(s.ctx, nil)
			if err == nil && !result.State.Final() {
				t.Errorf("it ended with %s", result.State)
			}
			if err != nil && whole(c.Published[0].Payload) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// whole reports whether a captured payload is whole: long ones were cut.
func whole(payload string) bool { return payload[len(payload)-1] == '}' }

func TestOneTaskAwaitedByMany(t *testing.T) {
	t.Parallel()
	play(t, "each hears all", celery.Settings{}, func(s *stage) {
		id, err := s.client.Send(s.ctx, celery.Task{Name: "lab.echo"})
		if err != nil {
			t.Fatal(err)
		}
		var calls []*celery.Call
		for range 10 {
			call, err := s.client.Attach(s.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
		calls[3].Close()
		m := s.take()
		_ = s.memory.Report(s.ctx, m, celerytest.Succeed(m, "1"))
		synctest.Wait()
		for i, call := range calls {
			if i == 3 {
				continue
			}
			if result, err := call.Next(s.ctx); err != nil || string(result.Value) != "1" {
				t.Errorf("call %d: %s %v", i, result.Value, err)
			}
			call.Close()
		}
	})
}
