package jobs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// What is left of a job that ran when the process ended.
func TestJobsOutliveTheProcess(t *testing.T) {
	for name, c := range map[string]struct {
		repeatable, cancelled, crash bool
		state                        jobs.State
		reason, attempt              string
		crashes                      int
	}{
		"stop":              {false, false, false, jobs.Failed, jobs.OutcomeUnknown, jobs.ProcessStopped, 0},
		"stop, repeatable":  {true, false, false, jobs.Queued, "", jobs.ProcessStopped, 0},
		"crash":             {false, false, true, jobs.Failed, jobs.OutcomeUnknown, jobs.ProcessCrashed, 1},
		"crash, repeatable": {true, false, true, jobs.Queued, "", jobs.ProcessCrashed, 1},
		"crash, cancelled":  {true, true, true, jobs.Cancelled, "", jobs.ProcessCrashed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				stay := make(chan struct{})
				defer close(stay)
				k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
					if c.crash {
						<-stay
					}
					<-a.Context().Done()
					return jobs.Verdict{Class: jobs.Aborted}
				}), jobs.RouteLimits{})
				id := k.accept(func(s *jobs.Submission) { s.Repeatable = c.repeatable })
				waits := k.accept(func(s *jobs.Submission) { s.Route = "other" })
				k.want(id, jobs.Running, "")
				if c.cancelled {
					_, _ = k.Cancel(t.Context(), id, "owner")
				}
				if c.crash {
					k.crash()
				} else {
					k.restart()
				}
				v := k.want(id, c.state, c.reason)
				if a := v.Attempts[0]; a.Class != jobs.Interrupted || a.Reason != c.attempt || a.Ended.IsZero() {
					t.Errorf("%+v", a)
				}
				if v.Crashes != c.crashes {
					t.Errorf("%d crashes", v.Crashes)
				}
				k.want(waits, jobs.Queued, "")
				got := k.Stats().Recovery
				want := jobs.Recovery{Crashed: c.crash, Interrupted: 1, Jobs: 2}
				if !c.crash {
					want.Interrupted = 0 // the end of the service has stored it
					if c.state.Terminal() {
						want.Jobs = 1
					}
				}
				if got.Took = 0; got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			})
		})
	}
}

// A job that the process does not survive is dead after the third time, whatever its policy,
// and the jobs next to it finish.
func TestAPoisonousJobDies(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		poison := k.accept(repeatable, func(s *jobs.Submission) { s.Policy.MaxAttempts = 100 })
		var good []jobs.ID
		for range 5 {
			good = append(good, k.accept(repeatable))
		}
		crashed := make(chan struct{}, 1)
		var suspects []int
		bind := func() {
			running := 0
			k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
				if a.Record().Crashes > 0 {
					k.note(func() { running++; suspects = append(suspects, running) })
					defer k.note(func() { running-- })
				}
				if a.Record().ID == poison {
					<-time.After(500 * time.Millisecond)
					crashed <- struct{}{}
					<-a.Context().Done()
					return jobs.Verdict{Class: jobs.Aborted}
				}
				select {
				case <-time.After(time.Second):
				case <-a.Context().Done():
					return jobs.Verdict{Class: jobs.Aborted}
				}
				_ = a.Begin(200, nil)
				return jobs.Verdict{Class: jobs.Completed}
			}), jobs.RouteLimits{})
		}
		bind()
		for range 3 {
			<-crashed
			k.crash()
			bind()
		}
		pass(time.Minute)
		if v := k.want(poison, jobs.Dead, jobs.Poison); v.Crashes != 3 || v.Attempt != 3 {
			t.Fatalf("%+v", v)
		}
		for _, id := range good {
			k.want(id, jobs.Succeeded, "")
		}
		for _, n := range suspects {
			if n != 1 {
				t.Fatalf("%d suspects run at once", n)
			}
		}
		if len(suspects) < 5 {
			t.Fatalf("%d suspects", len(suspects))
		}
	})
}

// Close lets attempts end in their time, and starts none.
func TestCloseWaitsForAttempts(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		g := newGated()
		k.Bind("r", g, jobs.RouteLimits{Concurrency: 1})
		running, waiting := k.accept(), k.accept()
		k.want(running, jobs.Running, "")
		closed := make(chan error, 1)
		k.closed = true
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			closed <- k.Close(ctx)
		}()
		if synctest.Wait(); len(closed) > 0 {
			t.Fatal("it did not wait")
		}
		g.end(running, jobs.Completed)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		k.restart()
		k.want(running, jobs.Succeeded, "")
		if v := k.want(waiting, jobs.Queued, ""); v.Attempt != 0 {
			t.Fatalf("%+v", v)
		}
	})
}

// An executor that does not return delays the end for a short time, and its job is queued
// again.
func TestCloseDoesNotWaitForABadExecutor(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		stay := make(chan struct{})
		var late error
		k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			<-stay
			late = a.Begin(200, nil)
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})
		id := k.accept(repeatable)
		k.want(id, jobs.Running, "")
		began := time.Now()
		k.restart()
		if took := time.Since(began); took > 10*time.Second {
			t.Fatal(took)
		}
		close(stay)
		if k.want(id, jobs.Queued, ""); late == nil {
			t.Fatal("its late result was taken")
		}
	})
}

// A caller that waits for a job is woken by the end of the service.
func TestWaitersLeaveWithTheService(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		v := k.get(k.accept())
		left := make(chan error, 1)
		go func() {
			_, err := k.Wait(t.Context(), v.ID, v.Version)
			left <- err
		}()
		synctest.Wait()
		k.close()
		if err := <-left; !errors.Is(err, jobs.ErrEngineClosed) {
			t.Fatal(err)
		}
	})
}

// Times count on while the process is away.
func TestTimesPassWhileTheProcessIsAway(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		late := k.accept(func(s *jobs.Submission) { s.Policy.QueueTime = time.Minute })
		unbind := k.Bind("r", fail(jobs.Verdict{Class: jobs.NotSent, RetryAfter: 10 * time.Minute}), jobs.RouteLimits{})
		later := k.accept()
		k.want(later, jobs.RetryWait, "")
		unbind()
		old := k.accept(func(s *jobs.Submission) { s.Policy.QueueTime = time.Minute })
		k.close()
		pass(5 * time.Minute)
		k.restart()
		k.want(old, jobs.Expired, jobs.QueueTimeOver)
		k.want(late, jobs.RetryWait, "")
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		pass(4 * time.Minute)
		k.want(later, jobs.RetryWait, "")
		pass(2 * time.Minute)
		k.want(later, jobs.Succeeded, "")
	})
}

// Only crashes that a job may have caused make it poisonous: not the end of its machine, not a
// kill while the process waits for its attempts, and not crashes before an attempt that has gone
// well for the process.
func TestAHealthyJobSurvivesTheEndsOfItsProcesses(t *testing.T) {
	patient := func(s *jobs.Submission) { s.Repeatable, s.Policy.MaxAttempts = true, 10 }
	for name, c := range map[string]struct {
		end    func(k *kit)
		reason string
		counts bool
	}{
		"power cuts": {(*kit).powerCut, jobs.MachineStopped, true},
		"kills":      {(*kit).kill, jobs.ProcessStopped, false},
		"stops":      {(*kit).restart, jobs.ProcessStopped, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				id := k.accept(patient)
				for range 5 {
					k.Bind("r", hang, jobs.RouteLimits{})
					k.want(id, jobs.Running, "")
					c.end(k)
				}
				v := k.want(id, jobs.Queued, "")
				if a := v.Attempts[4]; v.Crashes != 0 || a.Class != jobs.Interrupted || a.Reason != c.reason || (v.Uncounted == 0) != c.counts {
					t.Fatalf("%+v", v)
				}
			})
		})
	}
	t.Run("crashes that do not follow each other", func(t *testing.T) {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			id := k.accept(patient, func(s *jobs.Submission) { s.Policy.MaxBackoff = 0 })
			for range 3 {
				g := newGated()
				k.Bind("r", g, jobs.RouteLimits{})
				g.ids()
				g.end(id, jobs.Broken)
				pass(time.Second)
				k.want(id, jobs.Running, "")
				k.crash()
			}
			if v := k.want(id, jobs.Queued, ""); v.Crashes != 1 || v.Attempt != 6 {
				t.Fatalf("%+v", v)
			}
		})
	})
}

// An attempt that has not reached the upstream says nothing about the job.
func TestAnAttemptThatWasNotSentAcquitsNoJob(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept(repeatable)
		k.Bind("r", hang, jobs.RouteLimits{})
		k.want(id, jobs.Running, "")
		k.crash()
		defer k.Bind("r", fail(jobs.Verdict{Class: jobs.NotSent}), jobs.RouteLimits{})()
		if v := k.want(id, jobs.RetryWait, ""); v.Crashes != 1 {
			t.Fatalf("%+v", v)
		}
	})
}

// Jobs that have survived an attempt after a crash run with each other again.
func TestASurvivorIsNoSuspect(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		ids := []jobs.ID{k.accept(repeatable), k.accept(repeatable)}
		synctest.Wait()
		k.crash()
		k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
			if a.Record().Attempt == 2 {
				return jobs.Verdict{Class: jobs.Broken}
			}
			<-a.Context().Done()
			return jobs.Verdict{Class: jobs.Aborted}
		}), jobs.RouteLimits{})
		pass(time.Minute)
		for _, id := range ids {
			if v := k.want(id, jobs.Running, ""); v.Crashes != 0 {
				t.Fatalf("%+v", v)
			}
		}
	})
}

// A store that was filled up by the process before is opened: stored jobs can be read and
// removed, nothing is accepted, and interrupted jobs go on when there is room.
func TestAFullStoreIsOpened(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		again, once := k.accept(repeatable), k.accept()
		waits := k.accept(repeatable, func(s *jobs.Submission) { s.Route = "other" })
		old := k.accept(func(s *jobs.Submission) { s.Route = "other" })
		_, _ = k.Cancel(t.Context(), old, "owner")
		k.want(again, jobs.Running, "")
		k.inject(func(c memory.Call) error {
			if (c.Method == "Update" || c.Method == "Accept") && !c.After {
				return jobs.ErrFull
			}
			return nil
		})
		k.crash()
		k.Bind("r", answer("x"), jobs.RouteLimits{})
		pass(25 * time.Second)
		for _, id := range []jobs.ID{again, once} {
			if v := k.want(id, jobs.Running, ""); v.WaitingFor != "store" {
				t.Fatalf("it waits for '%s'", v.WaitingFor)
			}
		}
		k.want(waits, jobs.Queued, "")
		if _, err := k.Accept(t.Context(), submission()); !errors.Is(err, jobs.ErrFull) {
			t.Fatal(err)
		}
		if err := k.Forget(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if found := k.Stats().Recovery; found.Interrupted != 2 {
			t.Fatalf("%+v", found)
		}
		k.inject(nil)
		pass(15 * time.Second)
		if v := k.want(again, jobs.Succeeded, ""); v.Attempt != 2 || v.Attempts[0].Reason != jobs.ProcessCrashed {
			t.Fatalf("%+v", v)
		}
		k.want(once, jobs.Failed, jobs.OutcomeUnknown)
		if len(k.ended) != 3 {
			t.Fatalf("%d ends of attempts were reported", len(k.ended))
		}
	})
}

// An interrupted job that could not be stored is cancelled as others are, and another crash finds
// it again.
func TestAnInterruptedJobThatIsNotStored(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.Bind("r", hang, jobs.RouteLimits{})
		cancelled, crashed := k.accept(repeatable), k.accept(repeatable)
		k.want(crashed, jobs.Running, "")
		full := func(c memory.Call) error {
			if c.Method == "Update" && !c.After {
				return jobs.ErrFull
			}
			return nil
		}
		k.inject(full)
		k.crash()
		if _, err := k.Cancel(t.Context(), cancelled, "owner"); !errors.Is(err, jobs.ErrFull) {
			t.Fatal(err)
		}
		k.inject(nil)
		if _, err := k.Cancel(t.Context(), cancelled, "owner"); err != nil {
			t.Fatal(err)
		}
		k.inject(full)
		k.crash()
		k.inject(nil)
		pass(15 * time.Second)
		k.want(cancelled, jobs.Cancelled, "")
		if v := k.want(crashed, jobs.Queued, ""); v.Crashes != 1 || v.Attempt != 1 {
			t.Fatalf("%+v", v)
		}
	})
}
