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

// A clock that jumps back by days delays nothing that waits for a time: not the next attempt, not
// the next try of a webhook, not the route after rejections, not the submissions of a tenant.
func TestAClockThatJumpsBackDelaysNothing(t *testing.T) {
	later := jobs.Verdict{Class: jobs.NotSent, RetryAfter: 10 * time.Minute}
	t.Run("retry", func(t *testing.T) {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			unbind := k.Bind("r", fail(later), jobs.RouteLimits{})
			id := k.accept()
			k.want(id, jobs.RetryWait, "")
			unbind()
			pass(4 * time.Minute)
			step(-3 * 24 * time.Hour)
			defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
			pass(5 * time.Minute)
			if v := k.want(id, jobs.RetryWait, ""); v.WaitingFor != "time" {
				t.Fatalf("it waits for '%s'", v.WaitingFor)
			}
			pass(time.Minute + time.Second)
			k.want(id, jobs.Succeeded, "")
		})
	})
	t.Run("retry, after a restart", func(t *testing.T) {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			unbind := k.Bind("r", fail(later), jobs.RouteLimits{})
			id := k.accept()
			k.want(id, jobs.RetryWait, "")
			unbind()
			step(-3 * 24 * time.Hour)
			k.restart()
			defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
			pass(9 * time.Minute)
			k.want(id, jobs.RetryWait, "")
			pass(time.Minute + time.Second)
			k.want(id, jobs.Succeeded, "")
		})
	})
	t.Run("retry that waits for a permit", func(t *testing.T) {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			unbind := k.Bind("r", fail(later), jobs.RouteLimits{})
			id := k.accept()
			pass(11 * time.Minute) // it has failed again
			unbind()
			pass(11 * time.Minute)
			k.want(id, jobs.Queued, "")
			step(-3 * 24 * time.Hour)
			defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
			k.want(id, jobs.Succeeded, "")
		})
	})
	t.Run("webhook", func(t *testing.T) {
		p := &endpoint{answer: func(m jobs.Message) jobs.Delivery { return jobs.Delivery{Delivered: m.Try == 4} }}
		bubble(t, jobs.Options{Deliver: p.deliver}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			id := k.accept(hooked)
			_, _ = k.Cancel(t.Context(), id, "owner")
			pass(10 * time.Second)
			step(-3 * 24 * time.Hour)
			pass(290 * time.Second)
			if v := k.get(id); v.Hook.Tries != 2 {
				t.Fatalf("%+v", v.Hook)
			}
			pass(45 * time.Minute)
			if v := k.get(id); v.Hook.State != jobs.HookDelivered {
				t.Fatalf("%+v", v.Hook)
			}
		})
	})
	t.Run("route after a rejection", func(t *testing.T) {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			var open atomic.Bool
			defer k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
				if !open.Load() {
					return jobs.Verdict{RetryAfter: time.Minute}
				}
				return answer("x")(ctx, o)
			}), jobs.RouteLimits{})()
			id := k.accept()
			k.want(id, jobs.Queued, "")
			step(-3 * 24 * time.Hour)
			open.Store(true)
			pass(59 * time.Second)
			k.want(id, jobs.Queued, "")
			pass(time.Second)
			k.want(id, jobs.Succeeded, "")
		})
	})
	t.Run("rate of a tenant", func(t *testing.T) {
		bubble(t, jobs.Options{Limits: jobs.Limits{TenantRate: 1}}, func(t *testing.T, k *kit) {
			step := jobs.StepClock(t)
			k.restart()
			k.accept()
			step(-3 * 24 * time.Hour)
			if _, err := k.Accept(t.Context(), submission()); !errors.Is(err, jobs.ErrTenantLimit) {
				t.Fatal(err)
			}
			pass(time.Second)
			k.accept()
		})
	})
}

// An attempt takes the time that passes, whatever the wall clock does: the mean of the route is
// that of its jobs.
func TestAClockThatJumpsBackShortensNoAttempt(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		step := jobs.StepClock(t)
		k.restart()
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{})()
		id := k.accept()
		k.want(id, jobs.Running, "")
		step(-3 * 24 * time.Hour)
		pass(10 * time.Second)
		g.end(id, jobs.Completed)
		if mean := k.Stats().Routes["r"].MeanRun; mean != 10*time.Second {
			t.Fatal(mean)
		}
	})
}

// A job whose end cannot be stored is tried now and then.
func TestALateJobDoesNotOverrunAStoreThatFails(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept(func(s *jobs.Submission) { s.Policy.QueueTime = time.Second })
		var calls atomic.Int64
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && !c.After {
				if calls.Add(1) > 100 {
					return memory.ErrCrash
				}
				return jobs.ErrFull
			}
			return nil
		})
		pass(time.Minute)
		if n := calls.Load(); n < 2 || n > 10 {
			t.Fatalf("%d writes in a minute", n)
		}
		k.inject(nil)
		pass(30 * time.Second)
		k.want(id, jobs.Expired, jobs.QueueTimeOver)
	})
}
