package serving

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// refusedRun returns a rejected run of a pool.
func refusedRun(pool *pools.Pool) *Run {
	r := httptest.NewRequest("GET", "/a/path", nil)
	return &Run{Route: &Route{Settings: Settings{Pool: pool}}, who: requests.IdentityOf(r, time.Now(), false), record: record{facts: facts{reason: offloader.QueueFull}}}
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

func BenchmarkExplanation(b *testing.B) {
	run := refusedRun(somePool(b))
	b.ReportAllocs()
	for b.Loop() {
		memory{run}.explain(requests.DecidedRejected)
	}
}
