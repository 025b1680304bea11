//go:build integration

package integration

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// byBroker are two combinations, one for each broker, for tests that do not depend on the
// backend.
var byBroker = []combination{{"amqp", "rpc"}, {"redis", "redis"}}

func TestWhatIsKnownOfWorkers(t *testing.T) {
	t.Parallel()
	for _, version := range lab.EndVersions() {
		for _, c := range byBroker {
			t.Run(version+" "+c.String(), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, c, lab.WorkerOptions{Version: version, Slots: 3}, celery.Settings{})
				firstAnswer(t, b)
				workers := celery.NewWorkers(b.broker)
				defer workers.Close()
				ctx, stop := context.WithCancel(b.ctx)
				followed := make(chan struct{})
				go func() {
					defer close(followed)
					workers.Follow(ctx)
				}()
				answers(t, b, workers, version)
				gone(t, b, workers)
				stop()
				<-followed
			})
		}
	}
}

// firstAnswer: a new client without heartbeats does not wait the full second for replies of all
// workers. At least one of three attempts is faster, also on a busy machine.
func firstAnswer(t *testing.T, b *bench) {
	var fastest time.Duration
	for range 3 {
		workers := celery.NewWorkers(b.broker)
		began := time.Now()
		if known, err := workers.Knows(b.ctx, "lab.echo"); !known || err != nil {
			t.Errorf("lab.echo: %t %v", known, err)
		}
		if took := time.Since(began); fastest == 0 || took < fastest {
			fastest = took
		}
		workers.Close()
	}
	t.Logf("the first answer took %s", fastest)
	if fastest >= time.Second {
		t.Errorf("the first answer took %s", fastest)
	}
}

func answers(t *testing.T, b *bench, workers *celery.Workers, version string) {
	eventually(t, "a heartbeat", func() bool { return len(workers.Snapshot()) == 1 })
	if w := workers.Snapshot()[0]; w.Version != version || !strings.HasPrefix(w.Name, "w@") {
		t.Errorf("worker: %+v", w)
	}
	if err := workers.Ready(b.ctx, "celery"); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := workers.Ready(b.ctx, "other"); !errors.Is(err, celery.ErrNoWorker) && !errors.Is(err, celery.ErrUnroutable) {
		t.Errorf("ready for another queue: %v", err)
	}
	began := time.Now()
	if slots, err := workers.Slots(b.ctx); slots != 3 || err != nil {
		t.Errorf("slots: %d %v", slots, err)
	}
	t.Logf("stats took %s", time.Since(began))
	if known, err := workers.Knows(b.ctx, "lab.echo"); !known || err != nil {
		t.Errorf("lab.echo: %t %v", known, err)
	}
	if known, err := workers.Knows(b.ctx, "lab.not_there"); known || err != nil {
		t.Errorf("lab.not_there: %t %v", known, err)
	}
	stats, err := workers.Stats(b.ctx)
	for _, s := range stats {
		if s.Slots != 3 || s.Prefetch == 0 {
			t.Errorf("stats: %+v", s)
		}
	}
	if len(stats) != 1 || err != nil {
		t.Errorf("stats: %v %v", stats, err)
	}
}

// gone: a worker that is killed counts as gone within seconds.
func gone(t *testing.T, b *bench, workers *celery.Workers) {
	b.worker.Kill()
	began := time.Now()
	eventually(t, "no worker", func() bool {
		return errors.Is(workers.Ready(b.ctx, "celery"), celery.ErrNoWorker)
	})
	t.Logf("known to be gone after %s", time.Since(began))
	if took := time.Since(began); took > 20*time.Second { // three heartbeats, and cached replies
		t.Errorf("known to be gone after %s", took)
	}
	b.worker.Restart()
	eventually(t, "a worker", func() bool { return workers.Ready(b.ctx, "celery") == nil })
	if _, err := b.run("lab.factorial", 3); err != nil {
		t.Error(err)
	}
}

// A task that was revoked or has expired while it was in the queue never runs.
func TestTasksThatNobodyWaitsForDoNotRun(t *testing.T) {
	t.Parallel()
	for _, version := range lab.EndVersions() {
		for _, c := range byBroker {
			t.Run(version+" "+c.String(), func(t *testing.T) {
				t.Parallel()
				// The worker takes the tasks that it runs and those that wait.
				b := newBench(t, c, lab.WorkerOptions{Version: version, Slots: 1}, celery.Settings{Revoke: celery.RevokeOn})
				trace, read := b.trace()
				gate := t.TempDir() + "/gate"
				busy := b.start(celery.Task{Name: "lab.steps", Args: []any{1, gate}})
				defer busy.Close()
				var ids []string
				for range 5 {
					abandoned := b.start(celery.Task{Name: "lab.touch", Args: []any{trace}})
					ids = append(ids, abandoned.ID())
					abandoned.Abandon()
				}
				expiry := time.Now().Add(time.Second)
				expired := b.start(celery.Task{Name: "lab.touch", Args: []any{trace}, Expires: expiry})
				defer expired.Close()
				revoked := b.start(celery.Task{Name: "lab.touch", Args: []any{trace}})
				defer revoked.Close()
				b.client.Revoke(revoked.ID(), false)
				awaitRevoked(t, b, append(ids, revoked.ID()))
				eventually(t, "the expiry", func() bool { return time.Now().After(expiry) })
				if err := os.WriteFile(gate, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
				b.wantEnd(revoked, celery.ErrRevoked)
				b.wantEnd(busy, nil)
				b.wantEnd(expired, celery.ErrExpired)
				if _, err := b.run("lab.factorial", 3); err != nil { // comes after all of them
					t.Error(err)
				}
				if got := read(); got != "" {
					t.Errorf("%d abandoned tasks have run", len(got))
				}
			})
		}
	}
}

// awaitRevoked waits until the worker knows that the tasks are revoked.
func awaitRevoked(t *testing.T, b *bench, ids []string) {
	t.Helper()
	workers := celery.NewWorkers(b.broker)
	defer workers.Close()
	eventually(t, "all tasks to be revoked", func() bool {
		replies, err := workers.Inspect(b.ctx, celery.Command{Method: "revoked"})
		known := ""
		for _, reply := range replies {
			known += string(reply)
		}
		missing := func(id string) bool { return !strings.Contains(known, id) }
		return err == nil && !slices.ContainsFunc(ids, missing)
	})
}

func (b *bench) start(task celery.Task) *celery.Call {
	b.t.Helper()
	call, err := b.client.Start(b.ctx, task)
	if err != nil {
		b.t.Fatal(err)
	}
	return call
}

// wantEnd checks the outcome of a task. A task that RabbitMQ has removed may never be reported.
func (b *bench) wantEnd(call *celery.Call, want error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	result, err := call.Wait(ctx, nil)
	if err == nil {
		err = result.Err()
	}
	if !errors.Is(err, want) {
		b.t.Errorf("it ended with %v, want %v", err, want)
	}
}

func TestARunningTaskIsTerminatedIfThatIsSet(t *testing.T) {
	t.Parallel()
	for _, version := range lab.EndVersions() {
		for _, c := range byBroker {
			t.Run(version+" "+c.String(), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, c, lab.WorkerOptions{Version: version, Slots: 1}, celery.Settings{Revoke: celery.RevokeTerminate})
				trace, read := b.trace()
				call := b.start(celery.Task{Name: "lab.touch", Args: []any{trace, 60}})
				eventually(t, "running", func() bool { return read() == "x" })
				watched, err := b.client.Start(b.ctx, celery.Task{Name: "lab.touch", Args: []any{trace, 60}})
				if err != nil {
					t.Fatal(err)
				}
				call.Abandon() // the worker is free then, and runs the next task
				eventually(t, "the next running", func() bool { return read() == "xx" })
				b.client.Revoke(watched.ID(), true)
				ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
				defer cancel()
				result, err := watched.Wait(ctx, nil)
				watched.Close()
				if end := result.Err(); err != nil || !errors.Is(end, celery.ErrTerminated) && !errors.Is(end, celery.ErrRevoked) {
					t.Errorf("%v %v", end, err)
				}
			})
		}
	}
}

// A worker whose machine is lost reports nothing, so the caller's deadline ends the wait. A
// restarted worker takes the next task; its other process may run the old task again, if that
// was not acknowledged.
func TestAWorkerThatDiesUnderATask(t *testing.T) {
	t.Parallel()
	for _, c := range byBroker {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c, lab.WorkerOptions{Slots: 2}, celery.Settings{})
			trace, read := b.trace()
			call := b.start(celery.Task{Name: "lab.touch", Args: []any{trace, 60}})
			defer call.Close()
			eventually(t, "running", func() bool { return read() == "x" })
			b.worker.Signal(syscall.SIGKILL)
			ctx, cancel := context.WithTimeout(b.ctx, time.Second)
			defer cancel()
			if _, err := call.Wait(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			b.worker.Kill()
			b.worker.Restart()
			if _, err := b.run("lab.factorial", 3); err != nil {
				t.Error(err)
			}
		})
	}
}

// A priority has the same meaning on all brokers.
func TestTheMostUrgentTaskRunsFirst(t *testing.T) {
	t.Parallel()
	for _, c := range byBroker {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			env := []string{"PREFETCH=1", "MAX_PRIORITY=9"}
			b := newBench(t, c, lab.WorkerOptions{Slots: 1, Env: env, Args: []string{"-O", "fair"}}, celery.Settings{})
			trace, read := b.trace()
			busy := b.start(celery.Task{Name: "lab.sleep", Args: []any{1}})
			defer busy.Close()
			filler := b.start(celery.Task{Name: "lab.sleep", Args: []any{0}}) // the one that is prefetched
			defer filler.Close()
			eventually(t, "both taken", func() bool {
				gauge, ok := b.broker.(celery.QueueGauge)
				if !ok {
					t.Fatal("no gauge")
				}
				state, err := gauge.Queue(b.ctx, "celery")
				return err == nil && state.Ready == 0
			})
			var calls []*celery.Call
			for _, p := range []struct {
				word     string
				priority int
			}{{"low", 0}, {"middle", 5}, {"high", 9}} {
				call := b.start(celery.Task{Name: "lab.order", Args: []any{trace, p.word}, Priority: new(p.priority)})
				defer call.Close()
				calls = append(calls, call)
			}
			for _, call := range calls {
				b.wantEnd(call, nil)
			}
			if got := strings.Fields(read()); !slices.Equal(got, []string{"high", "middle", "low"}) {
				t.Errorf("order: %v", got)
			}
		})
	}
}
