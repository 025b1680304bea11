package crashtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// day is the jump of a clock while the process is down. Each bubble begins at the same time.
const day = 24 * time.Hour

// life runs a service on what another life has left, at a time after the begin of the bubble.
func life(t *testing.T, at time.Duration, e *memory.Engine, f func(t *testing.T, s *jobs.Service)) *memory.Engine {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(at)
		if e == nil {
			e = memory.Open(memory.Options{})
		} else {
			e = e.Reopen(memory.Options{})
		}
		s, err := jobs.Open(t.Context(), e, jobs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	return e
}

// accept accepts a job, after changes to its submission.
func accept(t *testing.T, s *jobs.Service, key int, change func(*jobs.Submission)) jobs.ID {
	t.Helper()
	sub := submission(key, jobs.Body{})
	sub.Route, sub.Repeatable = "again", true
	if change != nil {
		change(&sub)
	}
	a, err := s.Accept(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	return a.View.ID
}

// executor is a function as an executor.
type executor func(a *jobs.Attempt) jobs.Verdict

func (f executor) Execute(_ context.Context, o *jobs.Offer) jobs.Verdict {
	a, err := o.Start()
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}
	}
	return f(a)
}

// answer is an executor that succeeds.
func answer(a *jobs.Attempt) jobs.Verdict {
	if err := a.Begin(200, nil); err != nil {
		return jobs.Verdict{Class: jobs.Broken}
	}
	return jobs.Verdict{Class: jobs.Completed}
}

// fail is an executor that fails.
func fail(*jobs.Attempt) jobs.Verdict { return jobs.Verdict{Class: jobs.Broken} }

func state(t *testing.T, s *jobs.Service, id jobs.ID) jobs.State {
	t.Helper()
	v, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return v.State
}

// When the clock has jumped back, jobs that wait for a permit run at once, and a retry waits for
// no longer than it would have.
func TestClockThatJumpsBackDelaysNothing(t *testing.T) {
	const jump = 10 * day
	var waits, retries, keeps jobs.ID
	e := life(t, jump, nil, func(t *testing.T, s *jobs.Service) {
		retries = accept(t, s, 1, func(sub *jobs.Submission) { sub.Policy.MinBackoff, sub.Policy.MaxBackoff = time.Minute, time.Minute })
		unbind := s.Bind("again", executor(fail), jobs.RouteLimits{})
		synctest.Wait()
		unbind()
		keeps = accept(t, s, 3, func(sub *jobs.Submission) { sub.Route, sub.Policy.Keep = "other", 100*day })
		s.Bind("other", executor(answer), jobs.RouteLimits{})
		synctest.Wait()
		waits = accept(t, s, 2, func(sub *jobs.Submission) { sub.Policy.QueueTime, sub.Policy.Keep = time.Hour, 100*day })
	})
	life(t, 0, e, func(t *testing.T, s *jobs.Service) {
		newer := accept(t, s, 9, func(sub *jobs.Submission) { sub.Policy.Keep = 100 * day })
		s.Bind("again", executor(answer), jobs.RouteLimits{})
		synctest.Wait()
		for what, id := range map[string]jobs.ID{"waits": waits, "has ended": keeps, "is newer": newer} {
			if got := state(t, s, id); got != jobs.Succeeded {
				t.Errorf("the job that %s is %s", what, got)
			}
		}
		if got := state(t, s, retries); got != jobs.RetryWait {
			t.Errorf("the job that has failed is %s", got)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if got := state(t, s, retries); got != jobs.Succeeded {
			t.Errorf("the job that has failed is %s after its wait", got)
		}
	})
}

// When the clock has jumped ahead, the times of jobs are over at once, and jobs without such
// times run.
func TestClockThatJumpsAheadEndsTimes(t *testing.T) {
	var waits, late, retries, keeps, gone jobs.ID
	e := life(t, 0, nil, func(t *testing.T, s *jobs.Service) {
		retries = accept(t, s, 1, func(sub *jobs.Submission) { sub.Policy.MinBackoff, sub.Policy.MaxBackoff = day, day })
		unbind := s.Bind("again", executor(fail), jobs.RouteLimits{})
		synctest.Wait()
		unbind()
		s.Bind("other", executor(answer), jobs.RouteLimits{})
		gone = accept(t, s, 2, func(sub *jobs.Submission) { sub.Route = "other" })
		keeps = accept(t, s, 3, func(sub *jobs.Submission) { sub.Route, sub.Policy.Keep = "other", 100*day })
		synctest.Wait()
		waits = accept(t, s, 4, nil)
		late = accept(t, s, 5, func(sub *jobs.Submission) { sub.Policy.QueueTime = time.Hour; sub.Policy.Keep = 100 * day })
	})
	life(t, 10*day, e, func(t *testing.T, s *jobs.Service) {
		s.Bind("again", executor(answer), jobs.RouteLimits{})
		<-time.After(2 * time.Minute)
		synctest.Wait()
		for id, want := range map[jobs.ID]jobs.State{
			waits: jobs.Succeeded, late: jobs.Expired, retries: jobs.Succeeded, keeps: jobs.Succeeded,
		} {
			if got := state(t, s, id); got != want {
				t.Errorf("a job is %s, want %s", got, want)
			}
		}
		if v, err := s.Get(t.Context(), gone); err == nil {
			t.Errorf("a job whose time is over is there: %+v", v)
		}
		if again := accept(t, s, 2, nil); again == gone {
			t.Error("a key whose time is over belongs to its job")
		}
	})
}
