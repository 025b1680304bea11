package celery_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// moody is a worker that can fall silent and still listens.
type moody struct {
	silent atomic.Bool
	leave  func()
}

// joinMoody adds a worker of one queue that knows one task and runs two at once.
func (f *fleet) joinMoody(name, queue, task string) *moody {
	m := new(moody)
	answers := map[string]string{
		"ping":          `{"ok": "pong"}`,
		"active_queues": fmt.Sprintf(`[{"name": %q}]`, queue),
		"registered":    fmt.Sprintf(`[%q]`, task),
		"stats":         `{"pool": {"max-concurrency": 2}}`,
	}
	m.leave = f.joinWith(name, func(c celery.Command) string {
		if m.silent.Load() {
			return ""
		}
		return answers[c.Method]
	})
	return m
}

// within asks with so much time left.
func within[T any](t *testing.T, timeout time.Duration, ask func(context.Context) T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return ask(ctx)
}

func ready(t *testing.T, w *celery.Workers, queue string, timeout time.Duration) error {
	t.Helper()
	return within(t, timeout, func(ctx context.Context) error { return w.Ready(ctx, queue) })
}

// A worker whose pool blocks its loop runs a task for longer than heartbeats are
// missed. It takes the next one when it is free, so callers that can wait so long are
// admitted.
func TestASilentWorkerMayBeBusy(t *testing.T) {
	t.Parallel()
	inFleet(t, "it counts for as long as a caller will wait", func(t *testing.T, f *fleet, w *celery.Workers) {
		m := f.joinMoody("solo", "solo", "lab.sleep")
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "solo"}`)
		m.silent.Store(true)
		for _, pause := range []time.Duration{9 * time.Second, 5 * time.Second, 6 * time.Second} {
			<-time.After(pause)
			if err := ready(t, w, "solo", time.Minute); err != nil {
				t.Errorf("after %s more: %v", pause, err)
			}
		}
		if err := ready(t, w, "solo", 10*time.Second); !errors.Is(err, celery.ErrNoWorker) {
			t.Errorf("a caller that would have left by now: %v", err)
		}
		<-time.After(time.Minute)
		if err := ready(t, w, "solo", time.Minute); !errors.Is(err, celery.ErrNoWorker) {
			t.Errorf("after a minute: %v", err)
		}
		if err := w.Ready(t.Context(), "solo"); err != nil {
			t.Errorf("a caller that waits for ever: %v", err)
		}
		<-time.After(25 * time.Hour)
		if err := w.Ready(t.Context(), "solo"); !errors.Is(err, celery.ErrNoWorker) {
			t.Errorf("after a day: %v", err)
		}
	})
	inFleet(t, "it counts while a task that it was sent is wanted", func(t *testing.T, f *fleet, w *celery.Workers) {
		m := f.joinMoody("solo", "solo", "lab.sleep")
		if err := ready(t, w, "solo", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		m.silent.Store(true)
		<-time.After(5 * time.Minute)
		if err := ready(t, w, "solo", 5*time.Second); err != nil {
			t.Error(err)
		}
		<-time.After(6 * time.Minute)
		if err := ready(t, w, "solo", 5*time.Second); !errors.Is(err, celery.ErrNoWorker) {
			t.Error(err)
		}
	})
	inFleet(t, "it is gone when it says goodbye or listens no more", func(t *testing.T, f *fleet, w *celery.Workers) {
		for _, end := range []func(*moody){
			func(*moody) { f.beat(t, `{"type": "worker-offline", "hostname": "solo"}`) },
			func(m *moody) { m.leave() },
		} {
			m := f.joinMoody("solo", "solo", "lab.sleep")
			f.beat(t, `{"type": "worker-heartbeat", "hostname": "solo"}`)
			m.silent.Store(true)
			<-time.After(10 * time.Second)
			if err := ready(t, w, "solo", time.Minute); err != nil {
				t.Error(err)
			}
			end(m)
			<-time.After(3 * time.Second)
			if err := ready(t, w, "solo", time.Minute); !errors.Is(err, celery.ErrNoWorker) {
				t.Error(err)
			}
			m.leave()
		}
	})
	inFleet(t, "it has never been heard and so is none", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.joinMoody("solo", "solo", "lab.sleep").silent.Store(true)
		if err := ready(t, w, "solo", time.Minute); !errors.Is(err, celery.ErrNoWorker) {
			t.Error(err)
		}
	})
}

// Others that answer do not speak for one that is silent.
func TestASilentWorkerAmongOthers(t *testing.T) {
	t.Parallel()
	inFleet(t, "what it has answered holds", func(t *testing.T, f *fleet, w *celery.Workers) {
		m := f.joinMoody("solo", "solo", "lab.sleep")
		f.joinMoody("other", "celery", "lab.add")
		within(t, time.Hour, func(ctx context.Context) any { // asks both
			_, _ = w.Stats(ctx)
			_, _ = w.HaveSlots(ctx, 4)
			_, _ = w.Knows(ctx, "lab.none")
			return w.Ready(ctx, "none")
		})
		m.silent.Store(true)
		for range 30 {
			<-time.After(time.Minute)
			f.beat(t, `{"type": "worker-heartbeat", "hostname": "other"}`)
			for _, queue := range []string{"solo", "celery"} {
				if err := ready(t, w, queue, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			within(t, time.Hour, func(ctx context.Context) any {
				if known, err := w.Knows(ctx, "lab.sleep"); !known || err != nil {
					t.Errorf("its task: %t %v", known, err)
				}
				if known, err := w.Knows(ctx, "lab.none"); known || err != nil {
					t.Errorf("a task without a worker: %t %v", known, err)
				}
				if enough, err := w.HaveSlots(ctx, 4); !enough || err != nil {
					t.Errorf("slots of both: %t %v", enough, err)
				}
				if enough, err := w.HaveSlots(ctx, 5); enough || err != nil {
					t.Errorf("more slots: %t %v", enough, err)
				}
				return nil
			})
		}
		if err := ready(t, w, "none", time.Hour); !errors.Is(err, celery.ErrNoWorker) {
			t.Errorf("a queue without a worker: %v", err)
		}
	})
	inFleet(t, "what it was never asked may be so", func(t *testing.T, f *fleet, w *celery.Workers) {
		m := f.joinMoody("solo", "solo", "lab.sleep")
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "solo"}`)
		m.silent.Store(true)
		f.joinMoody("other", "celery", "lab.add")
		<-time.After(10 * time.Second)
		if err := ready(t, w, "solo", time.Minute); err != nil {
			t.Error(err)
		}
		within(t, time.Minute, func(ctx context.Context) any {
			if known, err := w.Knows(ctx, "lab.sleep"); !known || err != nil {
				t.Errorf("%t %v", known, err)
			}
			return nil
		})
	})
}

// slow is a broker that passes on nothing in time.
type slow struct{ *fleet }

func (slow) Ask(ctx context.Context, _ celery.Command, _ func([]byte) bool) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// A broker that does not deliver a command in time is unavailable, and no deadline of a
// task has passed: none was sent.
func TestABrokerThatPassesOnNoQuestion(t *testing.T) {
	t.Parallel()
	inFleet(t, "slow", func(t *testing.T, f *fleet, _ *celery.Workers) {
		w := celery.NewWorkers(slow{f})
		defer w.Close()
		err := ready(t, w, "celery", time.Minute)
		if !errors.Is(err, celery.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
