package jobs_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// An executor that panics ends its attempt alone: the process goes on, the job has an end, and
// its place in the route is free again.
func TestAnExecutorThatPanicsEndsItsAttempt(t *testing.T) {
	started := func(end func()) executor {
		return run(func(*jobs.Attempt) jobs.Verdict { end(); return jobs.Verdict{} })
	}
	before := func(end func()) executor {
		return func(context.Context, *jobs.Offer) jobs.Verdict { end(); return jobs.Verdict{} }
	}
	boom := func() { panic("boom") }
	for name, c := range map[string]struct {
		executor   executor
		repeatable bool
		value      any
		state      jobs.State
		reason     string
		class      jobs.Class
		attempts   int
	}{
		"running":             {started(boom), false, "boom", jobs.Failed, jobs.OutcomeUnknown, jobs.Broken, 1},
		"running, repeatable": {started(boom), true, "boom", jobs.Dead, jobs.AttemptsExhausted, jobs.Broken, 3},
		"before it runs":      {before(boom), false, "boom", jobs.Dead, jobs.AttemptsExhausted, jobs.NotSent, 3},
		"goroutine ends":      {started(runtime.Goexit), false, nil, jobs.Failed, jobs.OutcomeUnknown, jobs.Broken, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				var values []any
				var stack string
				k.options.Observer.Panicked = func(_ *jobs.Record, value any, s []byte) {
					k.note(func() { values, stack = append(values, value), string(s) })
				}
				k.Configure(k.options)
				unbind := k.Bind("r", c.executor, jobs.RouteLimits{Concurrency: 1})
				id := k.accept(func(s *jobs.Submission) { s.Repeatable = c.repeatable })
				pass(time.Minute)
				v := k.want(id, c.state, c.reason)
				if a := v.Attempts[0]; len(v.Attempts) != c.attempts || a.Class != c.class || a.Reason != jobs.Panicked {
					t.Errorf("%d attempts: %+v", len(v.Attempts), a)
				}
				if len(values) != c.attempts || values[0] != c.value || len(k.ended) != c.attempts {
					t.Errorf("reported: %v, %d ends", values, len(k.ended))
				}
				if c.value != nil && !strings.Contains(stack, "panic_test.go") {
					t.Errorf("the stack is not that of the panic: %s", stack)
				}
				unbind()
				defer k.Bind("r", answer("x"), jobs.RouteLimits{Concurrency: 1})()
				k.want(k.accept(), jobs.Succeeded, "")
			})
		})
	}
}

// An observer that panics, even about a panic, changes nothing.
func TestAnObserverThatPanicsChangesNothing(t *testing.T) {
	p := &endpoint{answer: func(m jobs.Message) jobs.Delivery {
		if m.Try == 1 {
			panic("deliver")
		}
		return jobs.Delivery{Delivered: true}
	}}
	bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
		reported := map[any]int{}
		k.options.Observer = jobs.Observer{
			Accepted:  func(*jobs.Record) { panic("accepted") },
			Rejected:  func(string, string) { panic("rejected") },
			Started:   func(*jobs.Record, time.Duration) { panic("started") },
			Ended:     func(*jobs.Record, jobs.AttemptRecord) { panic("ended") },
			Finished:  func(*jobs.Record) { panic("finished") },
			Recovered: func(jobs.Recovery) { panic("recovered") },
			Delivered: func(*jobs.Record, jobs.Delivery) { panic("delivered") },
			Panicked: func(_ *jobs.Record, value any, _ []byte) {
				k.note(func() { reported[value]++ })
				panic("panicked")
			},
		}
		k.restart()
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		id := k.accept(hooked)
		pass(time.Minute)
		if v := k.want(id, jobs.Succeeded, ""); v.Hook.State != jobs.HookDelivered || v.Hook.Tries != 2 {
			t.Fatalf("%+v", v.Hook)
		}
		k.options.Limits.Queue = 1
		k.Configure(k.options)
		other := func(s *jobs.Submission) { s.Route = "other" }
		k.accept(other)
		if _, err := k.Accept(t.Context(), submission(other)); err == nil {
			t.Fatal("there was room")
		}
		for _, f := range []string{"recovered", "accepted", "rejected", "started", "ended", "finished", "deliver", "delivered"} {
			if reported[f] == 0 {
				t.Errorf("the panic of %s was not reported", f)
			}
		}
	})
}
