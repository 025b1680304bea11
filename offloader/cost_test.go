package offloader_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Tests in this file measure the whole process, so they are not parallel.

// quietPool is a pool outside of any bubble.
func quietPool(t *testing.T, change func(*offloader.Settings)) *offloader.Pool {
	t.Helper()
	s := offloader.DefaultSettings()
	change(&s)
	p, err := offloader.New("reports", s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func wantAllocs(t *testing.T, what string, atMost float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(1000, f); got > atMost {
		t.Errorf("%s: %v allocations, at most %v", what, got, atMost)
	}
}

func TestAdmissionAllocates(t *testing.T) {
	ctx := context.Background()
	admit := func(p *offloader.Pool) func() {
		return func() {
			permit, err := p.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			permit.Release(offloader.Success)
		}
	}
	bare := quietPool(t, func(s *offloader.Settings) { s.Breaker = nil })
	wantAllocs(t, "without a breaker", 0, admit(bare))
	wantAllocs(t, "with a breaker", 0, admit(quietPool(t, func(*offloader.Settings) {})))

	wantAllocs(t, "leaving a queue for a permit", 0, waitOnce(t, quietPool(t, func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.Breaker = 1, 1, nil
	})))
}

// waitOnce returns a function that lets one caller wait for a permit.
func waitOnce(t *testing.T, p *offloader.Pool) func() {
	t.Helper()
	begin, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(begin) })
	go func() {
		for range begin {
			permit, err := p.Acquire(context.Background())
			if err != nil {
				t.Error(err)
			}
			permit.Release(offloader.Success)
			ended <- struct{}{}
		}
	}()
	return func() {
		permit, err := p.TryAcquire()
		if err != nil {
			t.Error(err)
		}
		begin <- struct{}{}
		for p.RejectEarly() == nil { // until the place is taken
			runtime.Gosched()
		}
		permit.Release(offloader.Success)
		<-ended
	}
}

func TestRefusalsAllocateNothing(t *testing.T) {
	full := quietPool(t, func(s *offloader.Settings) { s.Concurrency, s.Queue = 1, 0 })
	permit, err := full.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(offloader.Success)
	open := quietPool(t, func(s *offloader.Settings) {
		s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Hour, Probes: 1}
	})
	last, err := open.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	last.Release(offloader.Failure)
	closed := quietPool(t, func(*offloader.Settings) {})
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for reason, p := range map[string]*offloader.Pool{"queue_full": full, "breaker_open": open, "closed": closed} {
		wantAllocs(t, reason, 0, func() {
			if _, err := p.Acquire(context.Background()); err == nil {
				t.Error("not refused")
			}
			if p.RejectEarly() == nil {
				t.Error("not refused by Check")
			}
		})
	}
}

// A waiter costs its own goroutine, which has called Acquire, and next to
// nothing else: above all no timer and no goroutine of ours.
func TestWaitersAreCheap(t *testing.T) {
	waiters := 10_000
	if testkit.Race {
		waiters = 4_000
	}
	p := quietPool(t, func(s *offloader.Settings) {
		s.Concurrency, s.Queue, s.MaxWait = 1, waiters, time.Hour
	})
	permit, err := p.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(offloader.Success)
	acquire := func(ctx context.Context) {
		if _, err := p.Acquire(ctx); err == nil {
			t.Error("admitted")
		}
	}
	never := make(chan struct{})
	var sleepers atomic.Int64
	sleep := func(ctx context.Context) {
		defer sleepers.Add(-1)
		sleepers.Add(1)
		select {
		case <-ctx.Done():
		case <-never:
		}
	}
	allAsleep := func() bool { return int(sleepers.Load()) == waiters }
	costOf(t, waiters, sleep, allAsleep) // makes goroutines, to be used again
	asleep := costOf(t, waiters, sleep, allAsleep)
	waiting := costOf(t, waiters, acquire, func() bool { return p.RejectEarly() != nil })
	t.Logf("each waiter: %d bytes in %.1f objects and %d bytes of stack, without the queue %d, %.1f and %d",
		waiting.heap, waiting.objects, waiting.stack, asleep.heap, asleep.objects, asleep.stack)
	if waiting.heap > asleep.heap+256 || waiting.objects > asleep.objects+2.5 {
		t.Errorf("a place in the queue costs %d bytes in %.1f objects",
			waiting.heap-asleep.heap, waiting.objects-asleep.objects)
	}
}

// cost of one caller.
type cost struct {
	heap, stack uint64
	objects     float64
}

// costOf measures n callers while they wait.
func costOf(t *testing.T, n int, wait func(context.Context), ready func() bool) cost {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	goroutines, before := runtime.NumGoroutine(), memory()
	var all sync.WaitGroup
	for range n {
		all.Go(func() { wait(ctx) })
	}
	for !ready() {
		runtime.Gosched()
	}
	after := memory()
	if got := runtime.NumGoroutine() - goroutines; got > n {
		t.Errorf("%d goroutines for %d waiters", got, n)
	}
	cancel()
	all.Wait()
	return cost{
		heap:    (max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc) / uint64(n),
		stack:   (max(after.StackInuse, before.StackInuse) - before.StackInuse) / uint64(n),
		objects: float64(after.Mallocs-before.Mallocs) / float64(n),
	}
}

func memory() runtime.MemStats {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}

// A client that is rejected again and again costs its turn, and no allocation.
func TestTurnsAllocateNothing(t *testing.T) {
	full := quietPool(t, func(s *offloader.Settings) { s.Concurrency, s.Queue = 1, 0 })
	permit, err := full.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(offloader.Success)
	ticket := &offloader.Ticket{Pool: full, Caller: guestFrom(1, 1)}
	wantAllocs(t, "a client with a turn", 0, func() {
		_, err := ticket.Acquire(context.Background())
		rejected, ok := errors.AsType[*offloader.RejectedError](err)
		if !ok || ticket.NextRetry(rejected.Reason).Turn < time.Second {
			t.Errorf("got %v", err)
		}
	})
}
