package celery_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// knows looks a task up, and checks the result and the time that it takes.
func knows(t *testing.T, w *celery.Workers, task string, want bool, within time.Duration) {
	t.Helper()
	began := time.Now()
	known, err := w.Knows(t.Context(), task)
	if took := time.Since(began); known != want || err != nil || took != within {
		t.Errorf("%s: %t %v after %s, want %t after %s", task, known, err, took, want, within)
	}
}

func TestRepliesThatComeOneAfterTheOther(t *testing.T) {
	t.Parallel()
	names := map[string]string{"registered": `["lab.echo"]`, "stats": `{"pool": {"max-concurrency": 4}}`}
	inFleet(t, "a task is known as soon as one worker knows it", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		f.join("a", names)
		knows(t, w, "lab.echo", true, 0)
		knows(t, w, "lab.echo", true, 0)
		synctest.Wait() // for the silent worker
		if n := f.count("registered"); n != 2 {
			t.Errorf("two workers were asked %d times", n)
		}
	})
	inFleet(t, "a task is unknown when all workers had the time to reply", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		f.join("a", names)
		knows(t, w, "lab.other", false, time.Second)
		knows(t, w, "lab.other", false, 0)
	})
	inFleet(t, "slots are counted until they are enough", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		f.join("a", names)
		for _, want := range []struct {
			slots  int
			enough bool
			within time.Duration
		}{{4, true, 0}, {5, false, time.Second}, {5, false, 0}, {4, true, 0}} {
			began := time.Now()
			enough, err := w.HaveSlots(t.Context(), want.slots)
			if took := time.Since(began); enough != want.enough || err != nil || took != want.within {
				t.Errorf("%d slots: %t %v after %s", want.slots, enough, err, took)
			}
		}
	})
	inFleet(t, "without an answer there are slots enough", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		if enough, err := w.HaveSlots(t.Context(), 1000); !enough || err != nil {
			t.Errorf("%t %v", enough, err)
		}
	})
	inFleet(t, "one ping that is answered is enough", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		f.join("a", map[string]string{"ping": `{"ok": "pong"}`, "active_queues": `[{"name": "celery"}]`})
		began := time.Now()
		if err := w.Ready(t.Context(), "celery"); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
	inFleet(t, "heartbeats of a moment are not those of all workers", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", names)
		f.join("b", map[string]string{})
		f.beat(t, `{"type": "worker-heartbeat", "hostname": "a"}`)
		knows(t, w, "lab.other", false, time.Second) // b may know it
		<-time.After(4 * time.Second)
		knows(t, w, "lab.other", false, 0)
	})
}

func TestStaleReplies(t *testing.T) {
	t.Parallel()
	names := map[string]string{"registered": `["lab.echo"]`, "ping": `{"ok": "pong"}`}
	inFleet(t, "they serve while it is asked again, once", func(t *testing.T, f *fleet, w *celery.Workers) {
		leave := f.join("a", names)
		knows(t, w, "lab.echo", true, 0)
		leave()
		f.join("silent", nil)
		<-time.After(2 * time.Minute)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { knows(t, w, "lab.echo", true, 0) })
		}
		all.Wait()
		synctest.Wait()
		if n := f.count("registered"); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
	inFleet(t, "they do not serve for ever", func(t *testing.T, f *fleet, w *celery.Workers) {
		leave := f.join("a", names)
		knows(t, w, "lab.echo", true, 0)
		leave()
		f.join("b", map[string]string{"registered": `[]`})
		<-time.After(time.Hour)
		knows(t, w, "lab.echo", false, 0)
	})
	inFleet(t, "they do not count as a live worker", func(t *testing.T, f *fleet, w *celery.Workers) {
		leave := f.join("a", names)
		if err := w.Ready(t.Context(), "celery"); err != nil {
			t.Fatal(err)
		}
		leave()
		<-time.After(3 * time.Second)
		if err := w.Ready(t.Context(), "celery"); !errors.Is(err, celery.ErrNoWorker) {
			t.Error(err)
		}
	})
	inFleet(t, "names that are made up are not asked for one by one", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("a", names)
		for i := range 1000 {
			knows(t, w, fmt.Sprintf("lab.%d", i), false, 0)
			<-time.After(10 * time.Millisecond)
		}
		if n := f.count("registered"); n != 5 {
			t.Errorf("asked %d times in ten seconds", n)
		}
	})
	inFleet(t, "a caller at the moment of a reply sends no new command", func(t *testing.T, f *fleet, _ *celery.Workers) {
		f.join("a", names)
		const times = 200
		for range times {
			w := celery.NewWorkers(f)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { knows(t, w, "lab.echo", true, 0) })
			}
			all.Wait()
			w.Close()
		}
		synctest.Wait()
		if n := f.count("registered"); n != times {
			t.Errorf("asked %d times instead of %d", n, times)
		}
	})
	inFleet(t, "an answer in time is not overlooked", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		f.joinSlow("a", 500*time.Millisecond, names)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { knows(t, w, "lab.echo", true, 500*time.Millisecond) })
		}
		all.Wait()
	})
}

func TestCommandsEnd(t *testing.T) {
	t.Parallel()
	inFleet(t, "for a caller that leaves, at once", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		reason := errors.New("the client has left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, reason)
		defer cancel()
		if _, err := w.Knows(ctx, "lab.echo"); !errors.Is(err, reason) {
			t.Error(err)
		}
		knows(t, w, "lab.echo", true, 990*time.Millisecond) // the command continues for other callers
	})
	inFleet(t, "for all when it is closed", func(t *testing.T, f *fleet, w *celery.Workers) {
		f.join("silent", nil)
		began := time.Now()
		var asker sync.WaitGroup
		asker.Go(func() {
			if _, err := w.Knows(t.Context(), "lab.echo"); !errors.Is(err, celery.ErrClosed) {
				t.Error(err)
			}
		})
		synctest.Wait()
		w.Close()
		asker.Wait()
		if _, err := w.Slots(t.Context()); !errors.Is(err, celery.ErrClosed) || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		w.Close()
	})
}
