package caddymodule

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// refusedRun returns a run of a pool that was refused.
func refusedRun(pool *livePool) *run {
	r := httptest.NewRequest("GET", "/a/path", nil)
	return &run{route: &route{routeSettings: routeSettings{Pool: pool}}, who: identityOf(r, time.Now(), false), facts: facts{reason: offloader.QueueFull}}
}

func somePool(t testing.TB) *livePool {
	t.Helper()
	pool, err := offloader.New("reports", offloader.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close(t.Context()) })
	return &livePool{Pool: pool}
}

// A refusal under overload must not pay for being remembered.
func TestExplanationsAllocateNothing(t *testing.T) {
	run := refusedRun(somePool(t))
	run.explain(decidedRejected) // the first one makes room
	if got := testing.AllocsPerRun(1000, func() { run.explain(decidedRejected) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkExplanation(b *testing.B) {
	run := refusedRun(somePool(b))
	b.ReportAllocs()
	for b.Loop() {
		run.explain(decidedRejected)
	}
}
