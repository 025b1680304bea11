package celery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// fleet is a broker in memory with fake workers. It counts their commands.
type fleet struct {
	*celerytest.Memory
	ctx   context.Context
	mu    sync.Mutex
	asked map[string]int
}

func newFleet(ctx context.Context) *fleet {
	return &fleet{Memory: celerytest.NewMemory(), ctx: ctx, asked: map[string]int{}}
}

// join adds a worker with these replies in JSON, by method.
func (f *fleet) join(name string, answers map[string]string) func() {
	return f.joinSlow(name, 0, answers)
}

// joinSlow adds a worker that pauses before each reply.
func (f *fleet) joinSlow(name string, pause time.Duration, answers map[string]string) func() {
	return f.joinWith(name, func(c celery.Command) string {
		<-time.After(pause)
		return answers[c.Method]
	})
}

// joinWith adds a worker whose replies answer returns, empty for none.
func (f *fleet) joinWith(name string, answer func(celery.Command) string) func() {
	ctx, leave := context.WithCancel(f.ctx)
	go func() {
		_ = f.Commands(ctx, name, func(c celery.Command) []byte {
			f.mu.Lock()
			f.asked[c.Method]++
			f.mu.Unlock()
			text := answer(c)
			if text == "" {
				return nil
			}
			return fmt.Appendf(nil, "{%q: %s}", name, text)
		})
	}()
	synctest.Wait()
	return func() { leave(); synctest.Wait() }
}

func (f *fleet) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[method]
}

// inFleet runs a test in a bubble with a fake clock.
func inFleet(t *testing.T, name string, scene func(t *testing.T, f *fleet, w *celery.Workers)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			f := newFleet(ctx)
			w := celery.NewWorkers(f)
			go w.Follow(ctx)
			synctest.Wait()
			scene(t, f, w)
			w.Close()
			cancel()
		})
	})
}

func (f *fleet) beat(t *testing.T, body string) {
	t.Helper()
	if err := f.Event(f.ctx, "worker.heartbeat", []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	inFleet(t, "a worker that falls silent counts as gone", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.beat(t, `{"type": "worker-online", "hostname": "a", "freq": 2.0, "sw_ver": "5.6.3"}`)
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "b", "freq": 10.0, "active": 2, "processed": 7}`)
		all := w.Snapshot()
		if len(all) != 2 || all[0].Version != "5.6.3" || all[1].Active != 2 || all[1].Processed != 7 {
			t.Errorf("workers: %v", all)
		}
		<-time.After(6*time.Second + 1)
		if all := w.Snapshot(); len(all) != 1 || all[0].Name != "b" {
			t.Errorf("workers: %v", all)
		}
		<-time.After(30 * time.Second)
		if all := w.Snapshot(); len(all) != 0 {
			t.Errorf("workers: %v", all)
		}
	})
	inFleet(t, "a worker that says goodbye is gone at once", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.beat(t, `[{"type": "worker-heartbeat", "hostname": "a"}, {"type": "worker-heartbeat", "hostname": "b"}]`)
		f.beat(t, `{"type": "worker-offline", "hostname": "a"}`)
		if all := w.Snapshot(); len(all) != 1 || all[0].Name != "b" {
			t.Errorf("workers: %v", all)
		}
	})
	inFleet(t, "nonsense is passed over", func(t *testing.T, f *fleet, w *celery.Workers) {
		for _, body := range []string{"", "nonsense", "[1]", `{"type": "task-sent", "hostname": "a"}`, `{"type": 5}`} {
			f.beat(t, body)
		}
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "a", "freq": -1e300}`)
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "b", "freq": 1e300}`)
		if all := w.Snapshot(); len(all) != 2 || time.Until(all[0].Until) != 6*time.Second || time.Until(all[1].Until) != 3*time.Hour {
			t.Errorf("workers: %v", all)
		}
	})
	inFleet(t, "captured events are read", func(t *testing.T, f *fleet, w *celery.Workers) {
		type events struct {
			Events []struct {
				Channel string
				Body    json.RawMessage
			}
		}
		for _, e := range golden[events](t, "redis-events-5.6.3.json").Events {
			f.beat(t, string(e.Body))
		}
		if all := w.Snapshot(); len(all) != 1 || all[0].Name != "w1@worker.example" || all[0].Version != "5.6.3" {
			t.Errorf("workers: %v", all)
		}
	})
}

func TestReady(t *testing.T) {
	t.Parallel()
	pong := map[string]string{"ping": `{"ok": "pong"}`, "active_queues": `[{"name": "celery"}, {"name": "reports"}]`}
	inFleet(t, "a worker that answers is enough, and is asked once", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", pong)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := w.Ready(t.Context(), "celery"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if f.count("ping") != 1 || f.count("active_queues") != 1 {
			t.Errorf("asked %v", f.asked)
		}
		<-time.After(3 * time.Second)
		if err := w.Ready(t.Context(), "celery"); err != nil || f.count("ping") != 2 {
			t.Errorf("%v, asked %v", err, f.asked)
		}
	})
	inFleet(t, "without workers the error comes at once", func(t *testing.T, _ *fleet, w *celery.Workers) {
		began := time.Now()
		if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrNoWorker) || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	inFleet(t, "a worker that does not answer is none", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", nil)
		began := time.Now()
		if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrNoWorker) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	inFleet(t, "no command is sent while heartbeats are received", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", pong)
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "a"}`)
		if err := w.Ready(t.Context(), "celery"); err != nil || f.count("ping") != 0 {
			t.Errorf("%v, asked %v", err, f.asked)
		}
	})
	inFleet(t, "a worker of another queue is none", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", pong)
		if err := w.Ready(t.Context(), "reports"); err != nil {
			t.Error(err)
		}
		if err := w.Ready(t.Context(), "other"); !errors.Is(err, celery.ErrNoWorker) {
			t.Error(err)
		}
	})
	inFleet(t, "a queue that is absent is said to be", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.RemoveQueue("celery")
		if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrUnroutable) {
			t.Error(err)
		}
	})
}

// counting is a broker that knows the consumers of a queue.
type counting struct {
	*celerytest.Memory
	consumers int
}

func (c counting) Queue(context.Context, string) (celery.QueueState, error) {
	return celery.QueueState{Consumers: c.consumers}, nil
}

func TestReadyByConsumers(t *testing.T) {
	t.Parallel()
	w := celery.NewWorkers(counting{celerytest.NewMemory(), 1})
	if err := w.Ready(t.Context(), "celery"); err != nil {
		t.Error(err)
	}
	w = celery.NewWorkers(counting{celerytest.NewMemory(), 0})
	if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrNoWorker) {
		t.Error(err)
	}
}

func TestWhatWorkersAnswer(t *testing.T) {
	t.Parallel()
	stats := `{"pool": {"max-concurrency": 4}, "prefetch_count": 16, "uptime": 60, "total": {"lab.echo": 3}}`
	names := map[string]string{"registered": `["lab.echo"]`, "stats": stats, "ping": `{"ok": "pong"}`}
	inFleet(t, "slots of all workers are added", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", names)
		f.join("b", names)
		f.join("odd", map[string]string{"stats": `"nonsense"`})
		if slots, err := w.Slots(t.Context()); slots != 8 || err != nil {
			t.Errorf("%d %v", slots, err)
		}
	})
	inFleet(t, "a task that is known is looked up once a minute", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", names)
		for range 10 {
			if known, err := w.Knows(t.Context(), "lab.echo"); !known || err != nil {
				t.Fatal(known, err)
			}
			<-time.After(5 * time.Second)
		}
		if n := f.count("registered"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	inFleet(t, "a task that was added is known within seconds", func(t *testing.T, f *fleet, w *celery.Workers) {
		leave := f.join("a", names)
		if known, err := w.Knows(t.Context(), "lab.new"); known || err != nil {
			t.Fatal(known, err)
		}
		leave()
		f.join("a", map[string]string{"registered": `["lab.echo", "lab.new"]`})
		<-time.After(2 * time.Second)
		if known, err := w.Knows(t.Context(), "lab.new"); !known || err != nil {
			t.Fatal(known, err)
		}
	})
	inFleet(t, "without an answer every task counts as known", func(t *testing.T, _ *fleet, w *celery.Workers) {
		if known, err := w.Knows(t.Context(), "lab.echo"); !known || err != nil {
			t.Error(known, err)
		}
	})
	inFleet(t, "an answer that makes no sense is an error if there is no other", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", map[string]string{"registered": `{"error": "KeyError"}`, "stats": `[]`, "active_queues": "5"})
		if _, err := w.Knows(t.Context(), "lab.echo"); err == nil {
			t.Error("known without a list")
		}
		if _, err := w.Slots(t.Context()); err == nil {
			t.Error("slots without stats")
		}
		if _, err := w.ActiveQueues(t.Context()); err == nil {
			t.Error("queues without queues")
		}
	})
	inFleet(t, "asking ends when all whose heartbeats are heard have answered", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", names)
		f.join("silent", nil)
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "a"}`)
		<-time.After(4 * time.Second) // by then every worker has sent one
		began := time.Now()
		if stats, err := w.Stats(t.Context()); len(stats) != 1 || err != nil || time.Since(began) != 0 || stats["a"].Uptime != time.Minute {
			t.Errorf("%v %v after %s", stats, err, time.Since(began))
		}
	})
	t.Run("a broker that cannot ask says so", func(t *testing.T) {
		t.Parallel()
		w := celery.NewWorkers(mute{celerytest.NewMemory()})
		w.Follow(t.Context()) // returns at once
		if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrUnsupported) {
			t.Error(err)
		}
	})
}
