package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// body writes a body of n bytes.
func (k *kit) body(n int) jobs.Body {
	k.t.Helper()
	w, err := k.NewBody(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("x"), n)); err != nil {
		k.t.Fatal(err)
	}
	b, err := w.End()
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

func TestAnAttemptReadsTheBody(t *testing.T) {
	for _, n := range []int{0, 10, 100_000} {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			var got int64
			defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
				body, err := a.Body(t.Context())
				if err != nil {
					t.Error(err)
					return jobs.Verdict{}
				}
				got, _ = io.Copy(io.Discard, body)
				_ = body.Close()
				_ = a.Begin(200, nil)
				return jobs.Verdict{Class: jobs.Completed}
			}), jobs.RouteLimits{})()
			id := k.accept(func(s *jobs.Submission) { s.Body = k.body(n) })
			if v := k.want(id, jobs.Succeeded, ""); got != int64(n) || v.BodySize != int64(n) {
				t.Fatalf("%d bytes of %d, the record says %d", got, n, v.BodySize)
			}
		})
	}
}

func TestLimitsRejectSubmissions(t *testing.T) {
	big := func(k *kit) func(*jobs.Submission) {
		return func(s *jobs.Submission) { s.Body = k.body(600) }
	}
	none := func(*kit) func(*jobs.Submission) { return func(*jobs.Submission) {} }
	for name, c := range map[string]struct {
		limits jobs.Limits
		sub    func(*kit) func(*jobs.Submission)
		other  bool // another tenant is accepted
		want   error
		limit  string
	}{
		"queue":        {jobs.Limits{Queue: 2}, none, false, jobs.ErrQueueFull, ""},
		"queue bytes":  {jobs.Limits{QueueBytes: 1500}, big, false, jobs.ErrQueueFull, ""},
		"tenant queue": {jobs.Limits{TenantQueue: 2}, none, true, jobs.ErrTenantLimit, "queue"},
		"tenant bytes": {jobs.Limits{TenantBytes: 1500}, big, true, jobs.ErrTenantLimit, "bytes"},
		"tenant rate":  {jobs.Limits{TenantRate: 2}, none, true, jobs.ErrTenantLimit, "rate"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{Limits: c.limits}, func(t *testing.T, k *kit) {
				k.accept(tenant("a"), c.sub(k))
				k.accept(tenant("a"), c.sub(k))
				sub := submission(tenant("a"), c.sub(k))
				if err := k.Check(t.Context(), sub.Route, sub.Tenant, sub.Body.Size); !errors.Is(err, c.want) {
					t.Errorf("the check says: %v", err)
				}
				_, err := k.Accept(t.Context(), sub)
				if !errors.Is(err, c.want) {
					t.Fatal(err)
				}
				if q := (*jobs.QuotaError)(nil); errors.As(err, &q) != (c.limit != "") || q != nil && q.Limit != c.limit {
					t.Fatalf("%#v", err)
				}
				if _, err := k.Accept(t.Context(), submission(tenant("b"), c.sub(k))); (err == nil) != c.other {
					t.Fatalf("the other tenant: %v", err)
				}
				if len(k.rejected) < 2 {
					t.Fatal(k.rejected)
				}
			})
		})
	}
}

func TestTheRateOfATenantRecovers(t *testing.T) {
	bubble(t, jobs.Options{Limits: jobs.Limits{TenantRate: 0.5}}, func(t *testing.T, k *kit) {
		k.accept()
		_, err := k.Accept(t.Context(), submission())
		var q *jobs.QuotaError
		if !errors.As(err, &q) || q.RetryAfter != 2*time.Second {
			t.Fatalf("%#v", err)
		}
		pass(q.RetryAfter)
		k.accept()
	})
}

// A place in the queue is free again when its job runs, and was never taken by one that the
// engine has not stored.
func TestPlacesComeFree(t *testing.T) {
	bubble(t, jobs.Options{Limits: jobs.Limits{Queue: 1}}, func(t *testing.T, k *kit) {
		k.inject(func(c memory.Call) error {
			if c.Method == "Accept" {
				return jobs.ErrFull
			}
			return nil
		})
		for range 2 {
			if _, err := k.Accept(t.Context(), submission()); !errors.Is(err, jobs.ErrFull) {
				t.Fatal(err)
			}
		}
		k.inject(nil)
		id := k.accept()
		g := newGated()
		defer k.Bind("r", g, jobs.RouteLimits{})()
		k.want(id, jobs.Running, "")
		k.accept()
		if !slices.Equal(k.rejected, []string{"store_full", "store_full"}) {
			t.Fatal(k.rejected)
		}
	})
}

func keyed(key, fingerprint byte) func(*jobs.Submission) {
	return func(s *jobs.Submission) {
		s.Key = &jobs.Key{Hash: [32]byte{key}, Fingerprint: [32]byte{fingerprint}, Until: time.Now().Add(24 * time.Hour)}
	}
}

func TestAKeyBelongsToOneJob(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept(keyed(1, 1))
		check := func() {
			t.Helper()
			acc, err := k.Accept(t.Context(), submission(keyed(1, 1)))
			if err != nil || !acc.Earlier || acc.View.ID != id {
				t.Fatal(acc, err)
			}
			acc, err = k.Promote(t.Context(), submission(keyed(1, 1)), time.Now())
			if err != nil || !acc.Earlier || acc.Attempt != nil {
				t.Fatal(acc, err)
			}
			if _, err := k.Accept(t.Context(), submission(keyed(1, 2))); !errors.Is(err, jobs.ErrKeyReused) {
				t.Fatal(err)
			}
		}
		check()
		k.crash()
		check()
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		k.want(id, jobs.Succeeded, "")
		check()
		pass(23 * time.Hour) // the job is kept for an hour, and the key keeps it
		check()
		pass(time.Hour + 2*time.Minute)
		if acc, err := k.Accept(t.Context(), submission(keyed(1, 2))); err != nil || acc.Earlier {
			t.Fatal(acc, err)
		}
	})
}

// A job that an engine has stored although it has reported an error is accepted.
func TestAnAcceptanceThatFailedAfterItsEffectCounts(t *testing.T) {
	for _, getFails := range []bool{false, true} {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			until := time.Now().Add(time.Second)
			k.inject(func(c memory.Call) error {
				if c.After && c.Method == "Accept" || getFails && c.Method == "Get" && time.Now().Before(until) {
					return jobs.ErrBroken
				}
				return nil
			})
			defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
			acc, err := k.Accept(t.Context(), submission(keyed(1, 1)))
			if (err != nil) != getFails {
				t.Fatal(acc, err)
			}
			pass(time.Minute)
			page, err := k.List(t.Context(), jobs.Query{Limit: 10})
			if err != nil || len(page.Views) != 1 || page.Views[0].State != jobs.Succeeded {
				t.Fatal(page, err)
			}
		})
	}
}

func TestNothingIsAcceptedAtTheEnd(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		k.close()
		if _, err := k.Accept(t.Context(), submission()); !errors.Is(err, jobs.ErrStopping) {
			t.Fatal(err)
		}
		if _, err := k.Promote(t.Context(), submission(), time.Now()); !errors.Is(err, jobs.ErrStopping) {
			t.Fatal(err)
		}
	})
}

// A run whose job was stored although the engine has reported an error has no attempt. It is
// interrupted, and the job runs again.
func TestAPromotionThatIsNotKnownIsInterrupted(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		until := time.Now().Add(time.Second)
		k.inject(func(c memory.Call) error {
			if c.After && c.Method == "Accept" || c.Method == "Get" && time.Now().Before(until) {
				return jobs.ErrBroken
			}
			return nil
		})
		defer k.Bind("r", answer("x"), jobs.RouteLimits{})()
		if _, err := k.Promote(t.Context(), submission(repeatable), time.Now()); err == nil {
			t.Fatal("it was accepted")
		}
		pass(time.Minute)
		if v := k.one(jobs.Succeeded); v.Attempt != 2 || v.Attempts[0].Class != jobs.Interrupted {
			t.Fatalf("%+v", v)
		}
	})
}

// discards counts the bodies that were removed.
type discards struct {
	jobs.Engine
	n int
}

func (d *discards) NewBody(ctx context.Context) (jobs.BodyWriter, error) {
	w, err := d.Engine.NewBody(ctx)
	return &discarded{w, d}, err
}

type discarded struct {
	jobs.BodyWriter
	engine *discards
}

func (w *discarded) Discard() {
	w.engine.n++
	w.BodyWriter.Discard()
}

func TestTheBodyOfARejectedSubmissionIsRemoved(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		engine := &discards{Engine: memory.Open(memory.Options{})}
		s, err := jobs.Open(t.Context(), engine, jobs.Options{Limits: jobs.Limits{Queue: 1}})
		if err != nil {
			t.Fatal(err)
		}
		k.close()
		k.Service, k.closed = s, false
		k.accept(func(s *jobs.Submission) { s.Body = k.body(100_000) })
		if engine.n != 0 {
			t.Fatal("the body of an accepted one is removed")
		}
		_, err = k.Accept(t.Context(), submission(func(s *jobs.Submission) { s.Body = k.body(100_000) }))
		if !errors.Is(err, jobs.ErrQueueFull) || engine.n != 1 {
			t.Fatal(err, engine.n)
		}
	})
}

// A key that is known needs no room: a client that sends its request again gets its job, whatever
// is full meanwhile.
func TestAKnownKeyNeedsNoRoom(t *testing.T) {
	for name, c := range map[string]struct {
		limits jobs.Limits
		store  int64
		size   int
		want   error
	}{
		"queue":         {jobs.Limits{Queue: 1}, 0, 0, jobs.ErrQueueFull},
		"tenant":        {jobs.Limits{TenantQueue: 1}, 0, 0, jobs.ErrTenantLimit},
		"bytes":         {jobs.Limits{TenantBytes: 30_000}, 0, 20_000, jobs.ErrTenantLimit},
		"store":         {jobs.Limits{}, 30_000, 20_000, jobs.ErrFull},
		"store, inline": {jobs.Limits{}, 30_000, 16_000, jobs.ErrFull},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{Limits: c.limits}, func(t *testing.T, k *kit) {
				k.reopen(memory.Options{Limit: c.store})
				body := func(s *jobs.Submission) { s.Body = k.body(c.size) }
				id := k.accept(keyed(1, 1), body)
				for range 2 {
					acc, err := k.Accept(t.Context(), submission(keyed(1, 1), body))
					if err != nil || !acc.Earlier || acc.View.ID != id {
						t.Fatal(acc, err)
					}
				}
				if _, err := k.Accept(t.Context(), submission(keyed(1, 2), body)); !errors.Is(err, jobs.ErrKeyReused) {
					t.Fatal(err)
				}
				if _, err := k.Accept(t.Context(), submission(keyed(2, 1), body)); !errors.Is(err, c.want) {
					t.Fatal(err)
				}
				if len(k.rejected) != 2 || k.engine.Files() > 1 {
					t.Fatalf("rejected %v, %d files", k.rejected, k.engine.Files())
				}
			})
		})
	}
}

// The disk may be full before the body is written.
func TestAKnownKeyNeedsNoRoomForItsBody(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		for _, size := range []int{10, 20_000} {
			for _, method := range []string{"NewBody", "BodyWriter.Write"} {
				id := k.accept(keyed(byte(size%7), 1))
				k.inject(func(c memory.Call) error {
					if c.Method == method && !c.After {
						return jobs.ErrFull
					}
					return nil
				})
				acc, err := k.Accept(t.Context(), submission(keyed(byte(size%7), 1), func(s *jobs.Submission) { s.Body = k.body(size) }))
				if err != nil || !acc.Earlier || acc.View.ID != id {
					t.Fatal(method, acc, err)
				}
				_, err = k.Accept(t.Context(), submission(func(s *jobs.Submission) { s.Body = k.body(size) }))
				if !errors.Is(err, jobs.ErrFull) {
					t.Fatal(method, err)
				}
				k.inject(nil)
				if err := k.Forget(t.Context(), k.get(id).ID); !errors.Is(err, jobs.ErrNotTerminal) {
					t.Fatal(err)
				}
				_, _ = k.Cancel(t.Context(), id, "owner")
				if err := k.Forget(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
