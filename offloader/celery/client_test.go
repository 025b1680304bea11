package celery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// stage is a client with its servers and workers in memory, in a bubble with a fake clock.
type stage struct {
	t      *testing.T
	memory *celerytest.Memory
	client *celery.Client
	ctx    context.Context
}

// play runs a test in a separate bubble.
func play(t *testing.T, name string, settings celery.Settings, scene func(*stage)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			memory := celerytest.NewMemory()
			s := &stage{t, memory, celery.NewClient(memory, memory, settings), ctx}
			scene(s)
			if err := s.client.Close(ctx); err != nil {
				t.Error(err)
			}
			if err := memory.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			synctest.Wait()
			if n := memory.Watching(); n != 0 {
				t.Errorf("%d watchers are left", n)
			}
			if n := s.client.Waiting(); n != 0 {
				t.Errorf("%d calls are left", n)
			}
		})
	})
}

func (s *stage) start(task celery.Task) *celery.Call {
	s.t.Helper()
	call, err := s.client.Start(s.ctx, task)
	if err != nil {
		s.t.Fatal(err)
	}
	return call
}

func (s *stage) take() *celery.Message {
	s.t.Helper()
	m, err := s.memory.Take(s.ctx, celery.DefaultQueue)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *stage) report(m *celery.Message, state celery.State, value string) {
	s.t.Helper()
	if err := s.memory.Report(s.ctx, m, celerytest.State(m.CorrelationID, state, value)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) wantError(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("error %v, want %v", err, want)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	echo := celery.Task{Name: "lab.echo", Args: []any{1}}
	play(t, "returns the result and passes progress on", celery.Settings{}, func(s *stage) {
		go func() {
			m := s.take()
			for n := range 3 {
				s.report(m, "PROGRESS", fmt.Sprint(n))
				<-time.After(time.Second)
			}
			s.report(m, celery.Success, "42")
			s.report(m, celery.Failure, "null") // after the final state: ignored
		}()
		var progress []string
		result, err := s.client.Run(s.ctx, echo, func(r celery.Result) { progress = append(progress, string(r.Value)) })
		if err != nil || string(result.Value) != "42" || strings.Join(progress, " ") != "0 1 2" {
			t.Errorf("%s %v %v", result.Value, progress, err)
		}
	})
	play(t, "a failure of the task returns an error and its result", celery.Settings{}, func(s *stage) {
		go func() {
			m := s.take()
			_ = s.memory.Report(s.ctx, m, celerytest.Raise(m, "ValueError", "boom"))
		}()
		result, err := s.client.Run(s.ctx, echo, nil)
		if err == nil || err.Error() != "ValueError: boom" || result.State != celery.Failure {
			t.Errorf("%v %v", result, err)
		}
	})
	play(t, "the deadline is the task's expiry", celery.Settings{}, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		defer cancel()
		began := time.Now()
		_, err := s.client.Run(ctx, echo, nil)
		s.wantError(err, context.DeadlineExceeded)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %s", waited)
		}
		m := s.take()
		if m.Headers["expires"] != "2000-01-01T00:01:00+00:00" || m.ExpirationText() != "120000" {
			t.Errorf("expires %v, %s", m.Headers["expires"], m.ExpirationText())
		}
	})
	play(t, "the deadline is the caller's alone if that is set", celery.Settings{NoExpiry: true}, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		defer cancel()
		_, err := s.client.Run(ctx, echo, nil)
		s.wantError(err, context.DeadlineExceeded)
		if m := s.take(); m.Headers["expires"] != nil {
			t.Errorf("expires %v", m.Headers["expires"])
		}
	})
	play(t, "an expiry of the task is kept", celery.Settings{}, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		defer cancel()
		task := echo
		task.Expires = time.Date(2000, 1, 1, 0, 0, 7, 0, time.UTC)
		_, err := s.client.Run(ctx, task, nil)
		s.wantError(err, context.DeadlineExceeded)
		if m := s.take(); m.Headers["expires"] != "2000-01-01T00:00:07+00:00" {
			t.Errorf("expires %v", m.Headers["expires"])
		}
	})
	play(t, "the error is the cause of the caller's context", celery.Settings{}, func(s *stage) {
		ctx, leave := context.WithCancelCause(s.ctx)
		go func() {
			<-time.After(time.Second)
			leave(errLeft)
		}()
		_, err := s.client.Run(ctx, echo, nil)
		s.wantError(err, errLeft)
	})
	play(t, "the queue is the client's if the task names none", celery.Settings{Queue: "reports"}, func(s *stage) {
		if _, err := s.client.Send(s.ctx, echo); err != nil {
			t.Fatal(err)
		}
		if _, err := s.memory.Take(s.ctx, "reports"); err != nil {
			t.Fatal(err)
		}
	})
}

var errLeft = errors.New("the caller left")

func TestStart(t *testing.T) {
	t.Parallel()
	echo := celery.Task{Name: "lab.echo"}
	play(t, "a task without a stored result cannot be awaited", celery.Settings{}, func(s *stage) {
		_, err := s.client.Start(s.ctx, celery.Task{Name: "lab.echo", IgnoreResult: true})
		s.wantError(err, celery.ErrInvalidTask)
		if _, err := s.client.Send(s.ctx, celery.Task{Name: "lab.echo", IgnoreResult: true}); err != nil {
			t.Error(err)
		}
	})
	play(t, "an invalid task is not sent", celery.Settings{}, func(s *stage) {
		_, err := s.client.Start(s.ctx, celery.Task{})
		s.wantError(err, celery.ErrInvalidTask)
		_, err = s.client.Send(s.ctx, celery.Task{})
		s.wantError(err, celery.ErrInvalidTask)
	})
	play(t, "a queue that is absent is an error at once", celery.Settings{}, func(s *stage) {
		s.memory.RemoveQueue("celery")
		_, err := s.client.Start(s.ctx, echo)
		s.wantError(err, celery.ErrUnroutable)
	})
	play(t, "a broker that is away is an error at once", celery.Settings{}, func(s *stage) {
		s.memory.Fail(celery.ErrUnavailable)
		_, err := s.client.Start(s.ctx, echo)
		s.wantError(err, celery.ErrUnavailable)
		_, err = s.client.Send(s.ctx, echo)
		s.wantError(err, celery.ErrUnavailable)
		s.memory.Fail(nil)
	})
	play(t, "a result that is lost ends the wait", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		defer call.Close()
		s.memory.Lose(celery.ErrResultLost)
		_, err := call.Next(s.ctx)
		s.wantError(err, celery.ErrResultLost)
	})
	play(t, "a result that cannot be read ends the wait", celery.Settings{}, func(s *stage) {
		for _, payload := range []string{"\x80\x04K", `{"status": "SUCCESS", "task_id": 5, "result": 1}`} {
			call := s.start(echo)
			_ = s.memory.Report(s.ctx, s.take(), []byte(payload))
			_, err := call.Next(s.ctx)
			s.wantError(err, celery.ErrUnreadable)
			call.Close()
		}
	})
	play(t, "a task with an id of the caller's may have run before", celery.Settings{}, func(s *stage) {
		first := s.start(celery.Task{Name: "lab.echo", ID: "mine"})
		s.report(s.take(), celery.Success, "1")
		first.Close()
		second := s.start(celery.Task{Name: "lab.echo", ID: "mine"})
		defer second.Close()
		if result, err := second.Next(s.ctx); err != nil || string(result.Value) != "1" {
			t.Errorf("%s %v", result.Value, err)
		}
	})
	play(t, "a closed call returns ErrClosed", celery.Settings{}, func(s *stage) {
		call := s.start(echo)
		call.Close()
		call.Close() // a second call has no effect
		_, err := call.Next(s.ctx)
		s.wantError(err, celery.ErrClosed)
	})
}

func TestWithoutABackend(t *testing.T) {
	t.Parallel()
	memory := celerytest.NewMemory()
	client := celery.NewClient(memory, nil, celery.Settings{})
	if _, err := client.Start(t.Context(), celery.Task{Name: "a"}); !errors.Is(err, celery.ErrUnsupported) {
		t.Errorf("starting: %v", err)
	}
	if _, err := client.Attach(t.Context(), "a"); !errors.Is(err, celery.ErrUnsupported) {
		t.Errorf("attaching: %v", err)
	}
	id, err := client.Send(t.Context(), celery.Task{Name: "a"})
	if m, takeErr := memory.Take(t.Context(), "celery"); err != nil || takeErr != nil || m.CorrelationID != id || m.ReplyTo != "" {
		t.Errorf("sent %v, %v", m, err)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	play(t, "waits for a task that was sent before", celery.Settings{}, func(s *stage) {
		id, err := s.client.Send(s.ctx, celery.Task{Name: "lab.echo"})
		if err != nil {
			t.Fatal(err)
		}
		call, err := s.client.Attach(s.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		defer call.Close()
		go func() {
			m := s.take()
			<-time.After(time.Second)
			s.report(m, celery.Success, "5")
		}()
		if result, err := call.Wait(s.ctx, nil); err != nil || string(result.Value) != "5" {
			t.Errorf("%s %v", result.Value, err)
		}
	})
	play(t, "an invalid id is rejected", celery.Settings{}, func(s *stage) {
		_, err := s.client.Attach(s.ctx, "")
		s.wantError(err, celery.ErrInvalidTask)
	})
	play(t, "a backend that is away is an error at once", celery.Settings{}, func(s *stage) {
		s.memory.Fail(celery.ErrUnavailable)
		_, err := s.client.Attach(s.ctx, "x")
		s.wantError(err, celery.ErrUnavailable)
		s.memory.Fail(nil)
	})
}

// flaky is a broker whose first calls fail.
type flaky struct {
	*celerytest.Memory
	fails []error
	tries []time.Time
}

func (f *flaky) Publish(ctx context.Context, m *celery.Message) error {
	f.tries = append(f.tries, time.Now())
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		return err
	}
	return f.Memory.Publish(ctx, m)
}

func TestTasksThatMayRunTwiceAreSentAgain(t *testing.T) {
	t.Parallel()
	lost := []error{celery.ErrUnconfirmed, celery.ErrUnavailable, celery.ErrUnconfirmed}
	idempotent := celery.Task{Name: "lab.echo", Idempotent: true}
	with := func(s *stage, fails []error) *flaky {
		f := &flaky{Memory: s.memory, fails: slices.Clone(fails)}
		s.client = celery.NewClient(f, s.memory, celery.Settings{Revoke: celery.RevokeOn})
		return f
	}
	play(t, "with the same id, later and later", celery.Settings{}, func(s *stage) {
		f := with(s, lost)
		began := time.Now()
		id, err := s.client.Send(s.ctx, idempotent)
		if err != nil {
			t.Fatal(err)
		}
		var waits []time.Duration
		for _, at := range f.tries {
			waits = append(waits, at.Sub(began))
		}
		if !slices.Equal(waits, []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond}) {
			t.Errorf("tried at %v", waits)
		}
		if m := s.take(); m.CorrelationID != id {
			t.Errorf("id %s", m.CorrelationID)
		}
	})
	play(t, "others are not", celery.Settings{}, func(s *stage) {
		f := with(s, lost)
		_, err := s.client.Send(s.ctx, celery.Task{Name: "lab.echo"})
		s.wantError(err, celery.ErrUnconfirmed)
		if len(f.tries) != 1 {
			t.Errorf("tried %d times", len(f.tries))
		}
	})
	play(t, "nor what will never arrive", celery.Settings{}, func(s *stage) {
		f := with(s, []error{celery.ErrUnroutable, nil})
		_, err := s.client.Send(s.ctx, idempotent)
		s.wantError(err, celery.ErrUnroutable)
		if len(f.tries) != 1 {
			t.Errorf("tried %d times", len(f.tries))
		}
	})
	play(t, "until the caller's time is up", celery.Settings{}, func(s *stage) {
		with(s, slices.Repeat(lost, 100))
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.client.Send(ctx, idempotent)
		if !errors.Is(err, celery.ErrUnconfirmed) && !errors.Is(err, celery.ErrUnavailable) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	play(t, "one that may be in the queue after all is revoked", celery.Settings{}, func(s *stage) {
		with(s, lost[:1])
		heard := s.listen()
		_, err := s.client.Start(s.ctx, celery.Task{Name: "lab.echo", ID: "maybe"})
		s.wantError(err, celery.ErrUnconfirmed)
		<-time.After(time.Second)
		if got := strings.Join(heard(), " "); got != "[maybe] false" {
			t.Errorf("revoked %s", got)
		}
	})
}

// listen receives commands like a worker, and returns the revokes: the IDs and whether to
// terminate.
func (s *stage) listen() func() []string {
	var heard []string
	go func() {
		_ = s.memory.Commands(s.ctx, "w1", func(c celery.Command) []byte {
			ids, err := json.Marshal(c.Arguments["task_id"])
			if err != nil {
				panic(err)
			}
			heard = append(heard, strings.ReplaceAll(string(ids), `"`, "")+fmt.Sprintf(" %t", c.Arguments["terminate"]))
			return nil
		})
	}()
	synctest.Wait()
	return func() []string { synctest.Wait(); return heard }
}
