package jobs_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// crashAt crashes the engine at a call of a method, before or after its effect.
func (k *kit) crashAt(method string, after bool, number int) {
	k.inject(func(c memory.Call) error {
		if c.Method != method || c.After != after {
			return nil
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if number--; number == 0 {
			return memory.ErrCrash
		}
		return nil
	})
}

// afterwards crashes the rest of the process, and begins another one without faults.
func (k *kit) afterwards() {
	k.t.Helper()
	synctest.Wait()
	k.inject(nil)
	k.crash()
}

// all returns all jobs.
func (k *kit) all() []jobs.View {
	k.t.Helper()
	synctest.Wait()
	page, err := k.List(k.t.Context(), jobs.Query{Limit: 100})
	if err != nil {
		k.t.Fatal(err)
	}
	return page.Views
}

// again lets another executor complete all jobs, and returns how often it has run one.
func (k *kit) again() int {
	runs := 0
	k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
		runs++
		_ = a.Begin(200, nil)
		_, _ = a.Write([]byte("again"))
		return jobs.Verdict{Class: jobs.Completed}
	}), jobs.RouteLimits{})
	pass(10 * time.Second)
	return runs
}

// one returns the only job.
func (k *kit) one(state jobs.State) jobs.View {
	k.t.Helper()
	all := k.all()
	if len(all) != 1 || all[0].State != state {
		k.t.Fatalf("%d jobs, the first is %v: want one that is %s", len(all), all, state)
	}
	return all[0]
}

// large is a result that needs a file.
var large = strings.Repeat("large ", 10_000)

// crashPoints are the moments between two steps at which a crash leaves something behind. Each
// function lets the process crash there, and checks what follows.
var crashPoints = map[string]func(t *testing.T, k *kit){
	"1 body written, not accepted": func(t *testing.T, k *kit) {
		k.crashAt("Accept", false, 1)
		if _, err := k.Accept(t.Context(), submission(func(s *jobs.Submission) { s.Body = k.body(100_000) })); err == nil {
			t.Fatal("it was accepted")
		}
		k.afterwards()
		if u, err := k.Usage(t.Context()); err != nil || u.BodyBytes != 0 || len(k.all()) != 0 {
			t.Fatal(u, err)
		}
	},
	"2 accepted, not answered": func(t *testing.T, k *kit) {
		k.crashAt("Accept", true, 1)
		if _, err := k.Accept(t.Context(), submission(keyed(1, 1))); err == nil {
			t.Fatal("the client got an answer")
		}
		k.afterwards()
		acc, err := k.Accept(t.Context(), submission(keyed(1, 1)))
		if err != nil || !acc.Earlier || k.again() != 1 || k.one(jobs.Succeeded).ID != acc.View.ID {
			t.Fatal(acc, err)
		}
	},
	"3 answered, not begun": func(t *testing.T, k *kit) {
		k.accept()
		k.afterwards()
		if k.one(jobs.Queued); k.again() != 1 || k.one(jobs.Succeeded).Crashes != 0 {
			t.Fatalf("%+v", k.one(jobs.Succeeded))
		}
	},
	"4 attempt recorded, nothing sent": func(t *testing.T, k *kit) {
		ran := false
		k.Bind("r", run(func(*jobs.Attempt) jobs.Verdict { ran = true; return jobs.Verdict{} }), jobs.RouteLimits{})
		k.crashAt("Update", true, 1)
		k.accept(repeatable)
		k.afterwards()
		if v := k.one(jobs.Queued); ran || v.Attempt != 1 || v.Attempts[0].Class != jobs.Interrupted {
			t.Fatalf("%+v", v)
		}
		if k.again() != 1 || k.one(jobs.Succeeded).Attempt != 2 {
			t.Fatalf("%+v", k.one(jobs.Succeeded))
		}
	},
	"5 request sent, no response": func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		k.accept()
		synctest.Wait()
		k.engine.Crash()
		k.afterwards()
		if v := k.one(jobs.Failed); v.Reason != jobs.OutcomeUnknown || k.again() != 0 {
			t.Fatalf("%+v", v)
		}
	},
	"6 response begun": func(t *testing.T, k *kit) {
		k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(200, nil)
			_, _ = a.Write([]byte(large))
			<-a.Context().Done()
			return jobs.Verdict{Class: jobs.Aborted}
		}), jobs.RouteLimits{})
		id := k.accept(repeatable)
		k.want(id, jobs.Streaming, "")
		k.engine.Crash()
		k.afterwards()
		if _, err := k.Result(t.Context(), id); !errors.Is(err, jobs.ErrNoResult) {
			t.Fatal(err)
		}
		k.again()
		k.wantResult(id, "again")
	},
	"7 result synced, end not stored": func(t *testing.T, k *kit) {
		k.Bind("r", answer(large), jobs.RouteLimits{})
		k.crashAt("ResultFile.Sync", true, 1)
		id := k.accept(repeatable)
		k.afterwards()
		k.want(id, jobs.Queued, "")
		if k.again() != 1 {
			t.Fatal("it was not run again")
		}
		k.wantResult(id, "again")
	},
	"8 end stored, not noticed": func(t *testing.T, k *kit) {
		k.Bind("r", answer(large), jobs.RouteLimits{})
		k.crashAt("Update", true, 2)
		id := k.accept(repeatable)
		k.afterwards()
		if k.want(id, jobs.Succeeded, ""); k.again() != 0 {
			t.Fatal("it was run again")
		}
		k.wantResult(id, large)
	},
	"9 end stored, webhook not sent": func(t *testing.T, k *kit) {
		p := k.endpoint()
		k.Bind("r", answer("x"), jobs.RouteLimits{})
		k.crashAt("Update", true, 2)
		id := k.accept(hooked)
		k.afterwards()
		if v := k.want(id, jobs.Succeeded, ""); v.Hook.State != jobs.HookDelivered || len(p.messages) != 1 {
			t.Fatalf("%+v, %d messages", v.Hook, len(p.messages))
		}
	},
	"9 webhook sent, not stored": func(t *testing.T, k *kit) {
		p := k.endpoint()
		k.Bind("r", answer("x"), jobs.RouteLimits{})
		k.crashAt("Update", false, 3)
		k.accept(hooked)
		k.afterwards()
		if synctest.Wait(); len(p.messages) != 2 || p.messages[0].ID != p.messages[1].ID {
			t.Fatalf("%d messages", len(p.messages))
		}
	},
	"10 retry stored, not waited for": func(t *testing.T, k *kit) {
		k.Bind("r", fail(jobs.Verdict{Class: jobs.NotSent, RetryAfter: 5 * time.Second}), jobs.RouteLimits{})
		k.crashAt("Update", true, 2)
		k.accept()
		k.afterwards()
		if k.one(jobs.RetryWait); k.again() != 1 || k.one(jobs.Succeeded).Attempt != 2 {
			t.Fatalf("%+v", k.one(jobs.Succeeded))
		}
	},
	"11 cancellation stored, attempt not ended": func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		id := k.accept(repeatable)
		k.want(id, jobs.Running, "")
		k.crashAt("Update", true, 1)
		_, _ = k.Cancel(t.Context(), id, "owner")
		k.afterwards()
		if k.want(id, jobs.Cancelled, ""); k.again() != 0 {
			t.Fatal("it was run again")
		}
	},
	"12 removed": func(t *testing.T, k *kit) {
		k.Bind("r", answer(large), jobs.RouteLimits{})
		id := k.accept(func(s *jobs.Submission) { s.Body = k.body(100_000) })
		k.want(id, jobs.Succeeded, "")
		k.crashAt("Remove", true, 1)
		_ = k.Forget(t.Context(), id)
		k.afterwards()
		if u, err := k.Usage(t.Context()); err != nil || u.BodyBytes+u.ResultSize != 0 || len(k.all()) != 0 {
			t.Fatal(u, err)
		}
	},
	"13 running, not promoted": func(t *testing.T, k *kit) {
		k.crashAt("Accept", false, 1)
		if _, err := k.Promote(t.Context(), submission(), time.Now()); err == nil {
			t.Fatal("it was accepted")
		}
		k.afterwards()
		if len(k.all()) != 0 {
			t.Fatal("it is there")
		}
	},
	"14 no route after the restart": func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		id := k.accept(repeatable, func(s *jobs.Submission) { s.Policy.TotalTime = time.Minute })
		k.want(id, jobs.Running, "")
		k.engine.Crash()
		k.afterwards()
		if v := k.want(id, jobs.Queued, ""); v.WaitingFor != "route" {
			t.Fatal(v.WaitingFor)
		}
		pass(2 * time.Minute)
		k.want(id, jobs.Expired, jobs.TotalTimeOver)
	},
}

func TestCrashPoints(t *testing.T) {
	for name, point := range crashPoints {
		t.Run(name, func(t *testing.T) { bubble(t, jobs.Options{}, point) })
	}
}

// wantResult fails unless the job has this result.
func (k *kit) wantResult(id jobs.ID, want string) {
	k.t.Helper()
	k.want(id, jobs.Succeeded, "")
	r, err := k.Result(k.t.Context(), id)
	if err != nil {
		k.t.Fatal(err)
	}
	defer r.Close()
	if got, err := read(k.t.Context(), r); got != want || err != nil {
		k.t.Fatalf("%d bytes, want %d: %v", len(got), len(want), err)
	}
}

// endpoint accepts the messages of the service.
func (k *kit) endpoint() *endpoint {
	p := &endpoint{answer: func(jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: true} }}
	k.options.Deliver = p.deliver
	k.Configure(k.options)
	return p
}
