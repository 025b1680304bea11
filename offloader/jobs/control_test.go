package jobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestAQueuedJobIsCancelledAtOnce(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		v, err := k.Cancel(t.Context(), id, "owner")
		if err != nil || v.State != jobs.Cancelled || v.Cancel.By != "owner" {
			t.Fatal(v, err)
		}
		if v, err = k.Cancel(t.Context(), id, "owner"); !errors.Is(err, jobs.ErrTerminal) || v.State != jobs.Cancelled {
			t.Fatal(v, err)
		}
		ran := false
		defer k.Bind("r", run(func(*jobs.Attempt) jobs.Verdict { ran = true; return jobs.Verdict{} }), jobs.RouteLimits{})()
		if synctest.Wait(); ran {
			t.Fatal("it runs")
		}
	})
}

func TestAJobThatRunsIsCancelledSoon(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		var cause error
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			<-a.Context().Done()
			cause = context.Cause(a.Context())
			<-time.After(time.Second)
			return jobs.Verdict{Class: jobs.Broken}
		}), jobs.RouteLimits{})()
		id := k.accept()
		k.want(id, jobs.Running, "")
		v, err := k.Cancel(t.Context(), id, "operator")
		if err != nil || v.State != jobs.Running || v.Cancel == nil {
			t.Fatal(v, err)
		}
		if _, err := k.Cancel(t.Context(), id, "owner"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		v = k.want(id, jobs.Cancelled, "")
		if !errors.Is(cause, jobs.ErrCancelled) || v.Attempts[0].Class != jobs.Aborted || v.Cancel.By != "operator" {
			t.Fatal(cause, v)
		}
	})
}

// A job that completes in spite of its cancellation has succeeded.
func TestAFinishWinsOverACancellation(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			<-a.Context().Done()
			_ = a.Begin(200, nil)
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})()
		id := k.accept()
		k.want(id, jobs.Running, "")
		_, _ = k.Cancel(t.Context(), id, "owner")
		k.want(id, jobs.Succeeded, "")
	})
}

// A cancellation while the executor waits for its permit ends the offer.
func TestAnOfferEndsWithItsJob(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		var started error
		defer k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
			<-ctx.Done()
			_, started = o.Start()
			return jobs.Verdict{}
		}), jobs.RouteLimits{})()
		id := k.accept()
		k.want(id, jobs.Queued, "")
		_, _ = k.Cancel(t.Context(), id, "owner")
		if k.want(id, jobs.Cancelled, ""); started == nil {
			t.Fatal("it was started")
		}
	})
}

func TestARetryIsAnotherGeneration(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		text := "first"
		defer k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
			return answer(text).Execute(ctx, o)
		}), jobs.RouteLimits{})()
		id := k.accept(func(s *jobs.Submission) { s.Policy.TotalTime = time.Minute; s.Body = k.body(100_000) })
		k.want(id, jobs.Succeeded, "")
		text = "second"
		pass(2 * time.Minute)
		v, err := k.Retry(t.Context(), id)
		if err != nil || v.Generation != 2 || v.Attempt != 0 || v.Response != nil || !strings.HasPrefix(v.Version, "2-") {
			t.Fatal(v, err)
		}
		v = k.want(id, jobs.Succeeded, "")
		r, err := k.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		generation, number := r.Attempt()
		if text, err := read(t.Context(), r); text != "second" || err != nil || generation != 2 || number != 1 || len(v.Attempts) != 2 {
			t.Fatal(text, err, generation, number)
		}
	})
}

func TestWhatHasNotEndedIsNeitherRetriedNorForgotten(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		if _, err := k.Retry(t.Context(), id); !errors.Is(err, jobs.ErrNotTerminal) {
			t.Fatal(err)
		}
		if err := k.Forget(t.Context(), id); !errors.Is(err, jobs.ErrNotTerminal) {
			t.Fatal(err)
		}
		_, _ = k.Cancel(t.Context(), id, "owner")
		if err := k.Forget(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			k.Forget(t.Context(), id),
			func() error { _, err := k.Get(t.Context(), id); return err }(),
			func() error { _, err := k.Cancel(t.Context(), id, "owner"); return err }(),
			func() error { _, err := k.Retry(t.Context(), id); return err }(),
			func() error { _, err := k.Result(t.Context(), id); return err }(),
			func() error { _, err := k.Wait(t.Context(), id, ""); return err }(),
		} {
			if !errors.Is(err, jobs.ErrUnknown) {
				t.Fatal(err)
			}
		}
	})
}

// A long poll returns at each change of the version, and at the end of its time.
func TestWaitReturnsWithTheNextVersion(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		steps := make(chan func(a *jobs.Attempt))
		defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			for step := range steps {
				step(a)
			}
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})()
		v := k.get(id)
		type answer struct {
			v   jobs.View
			err error
		}
		next := func(cause func()) jobs.View {
			t.Helper()
			got := make(chan answer, 1)
			go func() {
				v, err := k.Wait(t.Context(), id, v.Version)
				got <- answer{v, err}
			}()
			if synctest.Wait(); len(got) > 0 {
				t.Fatal("it did not wait")
			}
			cause()
			a := <-got
			if a.err != nil {
				t.Fatal(a.err)
			}
			v = a.v
			return v
		}
		if v := next(func() { steps <- func(a *jobs.Attempt) { _ = a.Begin(200, nil) } }); v.State != jobs.Streaming {
			t.Fatal(v.State)
		}
		if v := next(func() { steps <- func(a *jobs.Attempt) { a.Progress(jobs.Progress{Percent: 40}) } }); v.Progress.Percent != 40 {
			t.Fatal(v.Progress)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if same, err := k.Wait(ctx, id, v.Version); err != nil || same.Version != v.Version || time.Since(began) != time.Minute {
			t.Fatal(same, err)
		}
		if v := next(func() { close(steps) }); v.State != jobs.Succeeded {
			t.Fatal(v.State)
		}
		if _, err := k.Wait(t.Context(), id, v.Version); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAPageOfJobsHasTheirPlaces(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.accept(tenant("a"))
		pass(time.Second)
		k.accept(tenant("a"))
		pass(time.Second)
		k.accept(tenant("b"))
		page, err := k.List(t.Context(), jobs.Query{Limit: 2})
		if err != nil || !page.More || len(page.Views) != 2 {
			t.Fatal(page, err)
		}
		if b, a := page.Views[0], page.Views[1]; b.Tenant != "b" || b.Position != 2 || a.Position != 3 {
			t.Fatal(b.Tenant, b.Position, a.Position)
		}
	})
}
