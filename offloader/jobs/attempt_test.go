package jobs_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestAJobRunsAndKeepsItsResult(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		if v := k.want(id, jobs.Queued, ""); v.WaitingFor != "route" || v.Position != 1 {
			t.Fatalf("waiting for '%s' at %d", v.WaitingFor, v.Position)
		}
		defer k.Bind("r", answer("hello"), jobs.RouteLimits{})()
		v := k.want(id, jobs.Succeeded, "")
		if v.Response.Status != 200 || v.Response.Size != 5 || v.Bytes != 5 || len(v.Attempts) != 1 {
			t.Fatalf("%+v", v)
		}
		r, err := k.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if text, err := read(t.Context(), r); text != "hello" || err != nil {
			t.Fatal(text, err)
		}
	})
}

// What follows an attempt of each class, with two attempts allowed.
func TestVerdictsDecideWhatFollows(t *testing.T) {
	for name, c := range map[string]struct {
		class      jobs.Class
		repeatable bool
		state      jobs.State
		reason     string
		attempts   int
	}{
		"not sent":             {jobs.NotSent, false, jobs.Dead, jobs.AttemptsExhausted, 3},
		"broken, repeatable":   {jobs.Broken, true, jobs.Dead, jobs.AttemptsExhausted, 3},
		"broken":               {jobs.Broken, false, jobs.Failed, jobs.OutcomeUnknown, 1},
		"too large":            {jobs.TooLarge, true, jobs.Failed, "why", 1},
		"aborted by no one":    {jobs.Aborted, false, jobs.Failed, jobs.OutcomeUnknown, 1},
		"without a class":      {"", false, jobs.Failed, jobs.OutcomeUnknown, 1},
		"declined, no answer":  {jobs.Declined, true, jobs.Failed, "why", 1},
		"complete, no answer":  {jobs.Completed, false, jobs.Failed, jobs.OutcomeUnknown, 1},
		"interrupted, it says": {jobs.Interrupted, true, jobs.Dead, jobs.AttemptsExhausted, 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				defer k.Bind("r", fail(jobs.Verdict{Class: c.class, Reason: "why"}), jobs.RouteLimits{})()
				id := k.accept(func(s *jobs.Submission) { s.Repeatable = c.repeatable })
				pass(time.Minute)
				v := k.want(id, c.state, c.reason)
				if v.Attempt != c.attempts || v.Response != nil {
					t.Errorf("%d attempts, response %v", v.Attempt, v.Response)
				}
				keep := time.Hour
				if c.state == jobs.Dead {
					keep = 2 * time.Hour
				}
				if v.KeepUntil.Sub(v.Ended) != keep {
					t.Errorf("it is kept for %v", v.KeepUntil.Sub(v.Ended))
				}
			})
		})
	}
}

func TestADeclinedJobKeepsItsResponse(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(404, []jobs.Field{{Name: "A", Value: "b"}})
			_, _ = a.Write([]byte("none"))
			a.End([]jobs.Field{{Name: "T", Value: "r"}})
			return jobs.Verdict{Class: jobs.Declined, Reason: "status_404"}
		}), jobs.RouteLimits{})()
		v := k.want(k.accept(), jobs.Failed, "status_404")
		if p := v.Response; p == nil || !p.Complete || p.Status != 404 || p.Size != 4 || len(p.Header) != 1 || len(p.Trailer) != 1 {
			t.Fatalf("%+v", v.Response)
		}
	})
}

// A failure whose response is complete is kept when no attempt follows.
func TestTheLastFailureIsKeptIfItIsComplete(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(502, nil)
			a.End(nil)
			return jobs.Verdict{Class: jobs.Broken, Reason: "status_502"}
		}), jobs.RouteLimits{})()
		id := k.accept(repeatable)
		pass(time.Minute)
		if v := k.want(id, jobs.Dead, jobs.AttemptsExhausted); v.Response == nil || v.Response.Status != 502 {
			t.Fatalf("%+v", v.Response)
		}
	})
}

// An upstream without room delays a job, and uses up no attempt.
func TestABusyUpstreamCostsNoAttempt(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		tries := 0
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			if tries++; tries <= 5 {
				return jobs.Verdict{Class: jobs.Busy, Reason: "status_429", RetryAfter: time.Minute}
			}
			_ = a.Begin(200, nil)
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})()
		id := k.accept(func(s *jobs.Submission) { s.Policy.MaxAttempts = 1 })
		pass(59 * time.Second)
		if v := k.want(id, jobs.RetryWait, ""); v.WaitingFor != "time" || v.Attempt != 1 {
			t.Fatalf("%+v", v)
		}
		pass(10 * time.Minute)
		if v := k.want(id, jobs.Succeeded, ""); v.Attempt != 6 || v.Uncounted != 5 {
			t.Fatalf("%+v", v)
		}
	})
}

func TestTimesOfAttemptsAndJobsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*jobs.Submission)
		state   jobs.State
		reason  string
		attempt string
	}{
		"attempt":             {func(s *jobs.Submission) { s.Policy.AttemptTimeout = time.Second }, jobs.Failed, jobs.OutcomeUnknown, jobs.AttemptTimeOver},
		"total":               {func(s *jobs.Submission) { s.Policy.TotalTime = time.Second }, jobs.Failed, jobs.OutcomeUnknown, jobs.TotalTimeOver},
		"attempt, repeatable": {func(s *jobs.Submission) { s.Policy.AttemptTimeout = time.Second; repeatable(s) }, jobs.Dead, jobs.AttemptsExhausted, jobs.AttemptTimeOver},
		"total, repeatable":   {func(s *jobs.Submission) { s.Policy.TotalTime = time.Second; repeatable(s) }, jobs.Expired, jobs.TotalTimeOver, jobs.TotalTimeOver},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				defer k.Bind("r", hang, jobs.RouteLimits{})()
				id := k.accept(c.change)
				pass(time.Minute)
				v := k.want(id, c.state, c.reason)
				if last := v.Attempts[len(v.Attempts)-1]; last.Reason != c.attempt {
					t.Errorf("the attempt has ended with '%s'", last.Reason)
				}
			})
		})
	}
}

func TestAQueuedJobExpires(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept(func(s *jobs.Submission) { s.Policy.QueueTime = time.Minute })
		pass(59 * time.Second)
		k.want(id, jobs.Queued, "")
		pass(time.Second)
		k.want(id, jobs.Expired, jobs.QueueTimeOver)
		pass(time.Hour + time.Minute)
		if _, err := k.Get(t.Context(), id); !errors.Is(err, jobs.ErrUnknown) {
			t.Fatalf("it was not removed: %v", err)
		}
	})
}

// A result that is done is not lost when the store fails for a time.
func TestTheEndOfAnAttemptIsStoredWhenTheStoreWorksAgain(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		var broken atomic.Bool
		broken.Store(true)
		began := make(chan struct{})
		end := make(chan struct{})
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(200, nil)
			close(began)
			<-end
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})()
		<-began
		k.inject(func(c memory.Call) error {
			if broken.Load() && c.Method == "Update" {
				return jobs.ErrFull
			}
			return nil
		})
		close(end)
		pass(10 * time.Minute)
		if v := k.want(id, jobs.Streaming, ""); v.WaitingFor != "store" {
			t.Fatalf("waiting for '%s'", v.WaitingFor)
		}
		broken.Store(false)
		pass(time.Minute)
		k.want(id, jobs.Succeeded, "")
	})
}

// An engine that stores the end and reports an error does not lead to another attempt.
func TestAWriteThatFailedAfterItsEffectCounts(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		failed := false
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && c.After && !failed {
				failed = true
				return jobs.ErrBroken
			}
			return nil
		})
		id := k.accept()
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		pass(time.Minute)
		if v := k.get(id); !v.State.Terminal() {
			t.Fatalf("%+v", v)
		}
	})
}

func TestAPromotedJobRunsUnderItsCaller(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		sub := submission()
		sub.Policy.AttemptTimeout = time.Minute
		acc, err := k.Promote(t.Context(), sub, time.Now().Add(-30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		id := acc.View.ID
		if v := k.want(id, jobs.Running, ""); v.Attempt != 1 {
			t.Fatalf("%+v", v)
		}
		if at, ok := acc.Attempt.Context().Deadline(); !ok || time.Until(at) != 30*time.Second {
			t.Fatal(at, ok)
		}
		_ = acc.Attempt.Begin(200, nil)
		_, _ = acc.Attempt.Write([]byte("yes"))
		if r := acc.Attempt.Finish(jobs.Verdict{Class: jobs.Completed}); r.State != jobs.Succeeded {
			t.Fatalf("%+v", r)
		}
		k.want(id, jobs.Succeeded, "")
		if _, err := acc.Attempt.Write([]byte("more")); err == nil {
			t.Fatal("an attempt that has ended is written to")
		}
	})
}

// An executor that pauses its route is asked again after that time.
func TestAnExecutorThatTurnsJobsAwayIsLeftInPeace(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		var offers []time.Time
		defer k.Bind("r", executor(func(_ context.Context, o *jobs.Offer) jobs.Verdict {
			offers = append(offers, time.Now())
			if len(offers) < 3 {
				return jobs.Verdict{Class: jobs.NotSent, RetryAfter: time.Minute}
			}
			return answer("x").Execute(context.Background(), o)
		}), jobs.RouteLimits{})()
		id := k.accept()
		pass(time.Second)
		if v := k.want(id, jobs.Queued, ""); v.WaitingFor != "breaker" || v.Attempt != 0 {
			t.Fatalf("%+v", v)
		}
		pass(5 * time.Minute)
		k.want(id, jobs.Succeeded, "")
		if len(offers) != 3 || offers[2].Sub(offers[0]) != 2*time.Minute {
			t.Fatal(offers)
		}
	})
}

// An end that was stored although the engine has reported an error is the end, for readers too.
func TestAnEndThatFailedAfterItsEffectCounts(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		parts := make(chan string)
		defer k.Bind("r", chunks(parts, jobs.Verdict{Class: jobs.Completed}), jobs.RouteLimits{})()
		parts <- "all"
		k.want(id, jobs.Streaming, "")
		r, err := k.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && c.After {
				return jobs.ErrBroken
			}
			return nil
		})
		close(parts)
		pass(time.Minute)
		if v := k.want(id, jobs.Succeeded, ""); v.Attempt != 1 || len(k.finished) != 1 || len(k.ended) != 1 {
			t.Fatalf("%+v, reported %d and %d times", v, len(k.finished), len(k.ended))
		}
		if text, err := read(t.Context(), r); text != "all" || err != nil {
			t.Fatal(text, err)
		}
	})
}
