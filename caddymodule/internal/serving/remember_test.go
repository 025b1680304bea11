package serving

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// refusedRun returns a rejected run of a pool.
func refusedRun(pool *pools.Pool) *Run {
	r := httptest.NewRequest("GET", "/a/path", nil)
	return &Run{Route: &Route{Settings: Settings{Process: state.NewProcess(), Pool: pool}}, who: requests.IdentityOf(r, time.Now(), false), record: record{facts: facts{reason: offloader.QueueFull}}}
}

func somePool(t testing.TB) *pools.Pool {
	t.Helper()
	pool, err := offloader.New("reports", offloader.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close(t.Context()) })
	return &pools.Pool{Pool: pool}
}

// A rejection under overload must not allocate for being recorded.
func TestExplanationsAllocateNothing(t *testing.T) {
	run := refusedRun(somePool(t))
	memory{run}.explain(requests.DecidedRejected) // the first one makes room
	if got := testing.AllocsPerRun(1000, func() { memory{run}.explain(requests.DecidedRejected) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

// So must not the record of the pool's decision.
func TestRecordedRejectionsAllocateNothing(t *testing.T) {
	pool := somePool(t)
	if err := pool.Configure(offloader.Settings{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	permit, err := pool.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(offloader.Success)
	run := refusedRun(pool)
	run.ticket.Pool = pool.Pool
	reject := func() {
		if _, err := run.ticket.Acquire(t.Context()); err == nil {
			t.Error("it was admitted")
		}
		memory{run}.explain(requests.DecidedRejected)
		run.ticket.Forget()
	}
	reject() // makes room
	if got := testing.AllocsPerRun(1000, reject); got > 0 {
		t.Errorf("%v allocations", got)
	}
	last := run.Route.Process.Explained.Last(1)[0]
	if !last.Recorded || last.Record.Reason != offloader.QueueFull || last.Pressure.Running != 1 || last.Pressure.Limit != 1 {
		t.Errorf("recorded %+v", last.Record)
	}
}

func BenchmarkExplanation(b *testing.B) {
	run := refusedRun(somePool(b))
	b.ReportAllocs()
	for b.Loop() {
		memory{run}.explain(requests.DecidedRejected)
	}
}
