//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// A worker of the pool solo is silent while it runs a task, for longer than heartbeats
// are missed. It counts as alive, with its tasks, and runs the next task when it is
// free.
func TestASilentWorkerMayBeBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t, onRedis[0], lab.WorkerOptions{Pool: "solo", Slots: 1}, celery.Settings{})
	workers := celery.NewWorkers(b.broker)
	defer workers.Close()
	ctx, stop := context.WithCancel(b.ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		workers.Follow(ctx)
	}()
	defer func() {
		stop()
		<-followed
	}()
	look := func() {
		t.Helper()
		patient, cancel := context.WithTimeout(b.ctx, time.Minute)
		defer cancel()
		if err := workers.Ready(patient, "celery"); err != nil {
			t.Error(err)
		}
		if known, err := workers.Knows(patient, "lab.sleep"); !known || err != nil {
			t.Errorf("it knows its task: %t %v", known, err)
		}
	}
	eventually(t, "a heartbeat", func() bool { return len(workers.Snapshot()) == 1 })
	look()
	busy := b.start(celery.Task{Name: "lab.sleep", Args: []any{15}})
	defer busy.Close()
	eventually(t, "silence", func() bool { return len(workers.Snapshot()) == 0 })
	look()
	next := b.start(celery.Task{Name: "lab.factorial", Args: []any{5}})
	defer next.Close()
	look()
	b.wantEnd(busy, nil)
	b.wantEnd(next, nil)
}
