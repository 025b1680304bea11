//go:build integration

package integration

import (
	"flag"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

var rounds = flag.Int("celery.rounds", 2, "how often 500 calls are made, 100 at once")

// figures of a number of calls.
type figures struct {
	calls  int
	took   time.Duration
	cpu    time.Duration // of this process
	waits  []time.Duration
	failed atomic.Int64
}

// measure makes calls, so many at once.
func (b *bench) measure(callers, each int, task celery.Task) *figures {
	f := &figures{calls: callers * each, waits: make([]time.Duration, callers*each)}
	before, began := cpuTime(b.t), time.Now()
	many(callers, func(caller int) {
		for n := range each {
			began := time.Now()
			if _, err := b.client.Run(b.ctx, task, nil); err != nil {
				b.t.Error(err)
				f.failed.Add(1)
			}
			f.waits[caller*each+n] = time.Since(began)
		}
	})
	f.took, f.cpu = time.Since(began), cpuTime(b.t)-before
	slices.Sort(f.waits)
	return f
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (f *figures) log(t *testing.T, title string) {
	t.Helper()
	t.Logf("%s: %d of %d answered, %.0f/s, p50 %s, p99 %s, CPU %s for each call", title,
		int64(f.calls)-f.failed.Load(), f.calls, float64(f.calls)/f.took.Seconds(),
		f.waits[f.calls/2].Round(time.Millisecond), f.waits[f.calls*99/100].Round(time.Millisecond),
		(f.cpu / time.Duration(f.calls)).Round(time.Microsecond))
}

// The scene that this began with: 100 callers, 5 calls each. All are answered.
func TestFiveHundredCalls(t *testing.T) {
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			b := newDirectBench(t, c, lab.WorkerOptions{Slots: 4})
			for range *rounds {
				f := b.measure(100, 5, celery.Task{Name: "lab.factorial", Args: []any{20}})
				f.log(t, c.String())
			}
			if n := b.client.Waiting(); n != 0 {
				t.Errorf("%d calls are left", n)
			}
		})
	}
}

// The threads of workers are kept busy: none of 50 tasks ends before all 50 run, and so
// ten times over. A client that sends fewer at once fails the tasks.
func TestSlotsAreKeptBusy(t *testing.T) {
	const slots = 50
	b := newDirectBench(t, combination{"amqp", "redis"}, lab.WorkerOptions{Slots: slots, Pool: "threads"})
	trace := filepath.Join(t.TempDir(), "trace")
	f := b.measure(2*slots, 5, celery.Task{Name: "lab.gather", Args: []any{trace, slots}})
	f.log(t, "50 at once in 50 slots")
}

// The cost of a waiting call: memory, and no connection.
func TestFiveThousandWait(t *testing.T) {
	const callers = 5000
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			p := newPlace(t, c)
			if p.rabbit != nil {
				if _, err := p.rabbit.Channel(t).QueueDeclare("celery", true, false, false, false, nil); err != nil {
					t.Fatal(err)
				}
			}
			b := &bench{place: p, combination: c, broker: p.openBroker(c), backend: p.openBackend(c)}
			b.client = celery.NewClient(b.broker, b.backend, celery.Settings{})
			idle := b.memory()
			done := make(chan error, callers)
			for range callers {
				go func() {
					_, err := b.client.Run(b.ctx, celery.Task{Name: "lab.factorial", Args: []any{20}}, nil)
					done <- err
				}()
			}
			eventually(t, "all wait", func() bool { return b.client.Waiting() == callers && b.sent() == callers })
			each := (b.memory() - idle) / callers
			connections := p.connections()
			t.Logf("%d wait: %d bytes for each, %d connections", callers, each, connections)
			if each > 32<<10 {
				t.Errorf("%d bytes for each", each)
			}
			if connections > 12 {
				t.Errorf("%d connections", connections)
			}
			p.startWorker(c, lab.WorkerOptions{})
			for range callers {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// memory of this process that is in use, with the stacks of goroutines.
func (b *bench) memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// sent is how many tasks wait for a worker.
func (b *bench) sent() int {
	gauge, ok := b.broker.(celery.QueueGauge)
	if !ok {
		b.t.Fatal("no gauge")
	}
	state, err := gauge.Queue(b.ctx, celery.DefaultQueue)
	if err != nil {
		b.t.Fatal(err)
	}
	return state.Ready
}

// connections of the client to all servers.
func (p *place) connections() int {
	n := p.redisProxy.Connections()
	if p.amqpProxy != nil {
		n += p.amqpProxy.Connections()
	}
	return n
}
