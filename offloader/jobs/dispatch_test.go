package jobs_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// A tenant with many jobs delays another one by one job at most, not by all of them.
func TestTenantsShareARoute(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		for range 6 {
			k.accept(tenant("a"))
		}
		for range 3 {
			k.accept(tenant("b"))
		}
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{Concurrency: 1})()
		for {
			ids := g.ids()
			if len(ids) == 0 {
				break
			}
			if len(ids) > 1 {
				t.Fatalf("%d run", len(ids))
			}
			pass(time.Second)
			g.end(ids[0], jobs.Completed)
		}
		if got := strings.Join(g.order, ""); got != "ababab"+"aaa" {
			t.Fatal(got)
		}
	})
}

// Tenants share time: one with long jobs gets fewer of them.
func TestTenantsShareTimeRatherThanTurns(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		for range 20 {
			k.accept(tenant("long"))
			k.accept(tenant("short"))
		}
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{Concurrency: 1})()
		for range 20 {
			id := g.ids()[0]
			if g.order[len(g.order)-1] == "long" {
				pass(9 * time.Second)
			}
			pass(time.Second)
			g.end(id, jobs.Completed)
		}
		long := strings.Count(strings.Join(g.order, ","), "long")
		if long < 2 || long > 6 {
			t.Fatalf("%d of %d are long: %v", long, len(g.order), g.order)
		}
	})
}

func TestATenantRunsAsManyJobsAsItMay(t *testing.T) {
	bubble(t, jobs.Options{Limits: jobs.Limits{TenantRunning: 2}}, func(t *testing.T, k *kit) {
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{})()
		defer k.Bind("other", g, jobs.RouteLimits{})()
		var last jobs.ID
		for range 3 {
			k.accept(tenant("a"))
			last = k.accept(tenant("a"), func(s *jobs.Submission) { s.Route = "other" })
		}
		k.accept(tenant("b"))
		if ids := g.ids(); len(ids) != 3 {
			t.Fatalf("%d run", len(ids))
		}
		if v := k.want(last, jobs.Queued, ""); v.WaitingFor != "tenant" || v.Position != 2 {
			t.Fatalf("waiting for '%s' at %d", v.WaitingFor, v.Position)
		}
		for range 7 {
			g.end(g.ids()[0], jobs.Completed)
			if n := len(g.ids()); n > 3 {
				t.Fatalf("%d run", n)
			}
		}
		if len(k.finished) != 7 {
			t.Fatalf("%d have ended", len(k.finished))
		}
	})
}

// An executor has one offer at a time until it has started it.
func TestAnExecutorHasOneOfferAtATime(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		offers, permits := 0, make(chan struct{})
		defer k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
			offers++
			o.WaitFor("breaker")
			select {
			case <-permits:
			case <-ctx.Done():
				return jobs.Verdict{}
			}
			return hang(ctx, o)
		}), jobs.RouteLimits{})()
		var ids []jobs.ID
		for range 3 {
			ids = append(ids, k.accept())
		}
		for want := 1; want <= 3; want++ {
			if synctest.Wait(); offers != want {
				t.Fatalf("%d offers, want %d", offers, want)
			}
			if v := k.want(ids[want-1], jobs.Queued, ""); v.WaitingFor != "breaker" || v.Position != 1 {
				t.Fatalf("waiting for '%s' at %d", v.WaitingFor, v.Position)
			}
			permits <- struct{}{}
			k.want(ids[want-1], jobs.Running, "")
		}
	})
}

// The executor that was bound last runs new jobs; the others stay where they are.
func TestBindingsAreAStack(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		first, second := newGated(), newGated()
		unbindFirst := k.Bind("r", first, jobs.RouteLimits{})
		a := k.accept()
		k.want(a, jobs.Running, "")
		unbindSecond := k.Bind("r", second, jobs.RouteLimits{})
		b := k.accept()
		k.want(b, jobs.Running, "")
		if !slices.Equal(first.ids(), []jobs.ID{a}) || !slices.Equal(second.ids(), []jobs.ID{b}) {
			t.Fatal(first.ids(), second.ids())
		}
		unbindSecond()
		c := k.accept()
		if ids := first.ids(); len(ids) != 2 {
			t.Fatal(ids)
		}
		unbindFirst()
		unbindFirst()
		d := k.accept()
		if v := k.want(d, jobs.Queued, ""); v.WaitingFor != "route" {
			t.Fatalf("waiting for '%s'", v.WaitingFor)
		}
		second.end(b, jobs.Completed)
		first.end(a, jobs.Completed)
		first.end(c, jobs.Completed)
		for _, id := range []jobs.ID{a, b, c} {
			k.want(id, jobs.Succeeded, "")
		}
	})
}

// An offer that waits at an executor goes to the next one when that is unbound.
func TestAnOfferLeavesAnUnboundExecutor(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		unbind := k.Bind("r", executor(func(ctx context.Context, _ *jobs.Offer) jobs.Verdict {
			<-ctx.Done()
			return jobs.Verdict{Class: jobs.NotSent}
		}), jobs.RouteLimits{})
		id := k.accept()
		synctest.Wait()
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		k.want(id, jobs.Queued, "")
		unbind()
		k.want(id, jobs.Succeeded, "")
	})
}

func TestStatsCountJobs(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.accept()
		pass(time.Minute)
		k.accept()
		st := k.Stats().Routes["r"]
		if st.Bound || st.Queued != 2 || st.Oldest.Round(time.Second) != time.Minute {
			t.Fatalf("%+v", st)
		}
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{Concurrency: 1})()
		id := g.ids()[0]
		pass(time.Second)
		if st := k.Stats().Routes["r"]; !st.Bound || st.Queued != 1 || st.Running != 1 || st.Streaming != 0 {
			t.Fatalf("%+v", st)
		}
		g.end(id, jobs.NotSent)
		if st := k.Stats().Routes["r"]; st.RetryWait != 1 || st.Running != 1 || st.Queued != 0 || st.MeanRun == 0 {
			t.Fatalf("%+v", st)
		}
	})
}

// A store that fails is asked by one job of a route at a time, less and less often.
func TestAStoreThatFailsIsNotOverrun(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		for range 50 {
			k.accept()
		}
		var calls atomic.Int64
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && !c.After {
				calls.Add(1)
				return jobs.ErrFull
			}
			return nil
		})
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		pass(time.Minute)
		if n := calls.Load(); n < 5 || n > 120 {
			t.Fatalf("%d writes in a minute", n)
		}
		k.inject(nil)
		pass(time.Minute)
		if n := len(k.finished); n != 50 {
			t.Fatalf("%d have ended", n)
		}
	})
}

// Many attempts are stored at the same time.
func TestAttemptsAreStoredTogether(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		for range 50 {
			k.accept()
		}
		k.inject(func(c memory.Call) error {
			if c.Method == "Update" && !c.After {
				<-time.After(time.Second)
			}
			return nil
		})
		began := time.Now()
		unbind := k.Bind("r", answer("x"), jobs.RouteLimits{Concurrency: 25})
		defer unbind()
		for k.count() < 50 {
			pass(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Fatal(took)
		}
	})
}

// An executor may return after its job was cancelled, run again, and offered again. The late
// offer has nothing to do with the later one.
func TestALateOfferLeavesTheNextOneAlone(t *testing.T) {
	for name, starts := range map[string]bool{"it returns": false, "it starts the job": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				var offers atomic.Int64
				first, second := make(chan struct{}), make(chan struct{})
				unbind := k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
					switch offers.Add(1) {
					case 1:
						<-first
						if !starts {
							return jobs.Verdict{}
						}
					case 2:
						<-second
					}
					return hang(ctx, o)
				}), jobs.RouteLimits{Concurrency: 1})
				id := k.accept()
				k.want(id, jobs.Queued, "")
				_, stop := k.Watch(id) // as a client that waits for the job
				defer stop()
				_, _ = k.Cancel(t.Context(), id, "owner")
				if _, err := k.Retry(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				k.want(id, jobs.Queued, "")
				close(first)
				k.want(id, jobs.Queued, "")
				close(second)
				k.want(id, jobs.Running, "")
				next := k.accept()
				pass(time.Minute)
				if v := k.want(next, jobs.Queued, ""); offers.Load() != 2 {
					t.Fatalf("%d offers, %+v", offers.Load(), v)
				}
				unbind()
			})
		})
	}
}
