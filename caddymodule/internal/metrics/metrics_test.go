package metrics

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// processWith returns a process with a pool "one".
func processWith(t *testing.T, s offloader.Settings) *state.Process {
	t.Helper()
	p := state.NewProcess()
	if _, err := p.Pools.Open("one", s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Pools.Named.Delete("one"); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A collector publishes the pools of its process and no others.
func TestCollectorPublishesItsProcess(t *testing.T) {
	p := processWith(t, offloader.DefaultSettings())
	for of, want := range map[*state.Process]int{p: 1, state.NewProcess(): 0} {
		if got := testutil.CollectAndCount(Collector{Process: of}, "caddy_offload_running"); got != want {
			t.Errorf("%d pools are published, want %d", got, want)
		}
	}
}

// Upstreams have series while they are listed, and only in pools that count their permits.
func TestMetricsOfUpstreams(t *testing.T) {
	settings := offloader.DefaultSettings()
	settings.Concurrency, settings.UpstreamConcurrency, settings.ConcurrencyOf = 0, 2, map[string]int{"b:80": 3}
	p := processWith(t, settings)
	pool := p.Pools.Living()[0]
	expect := func(want string) {
		t.Helper()
		if err := testutil.CollectAndCompare(Collector{Process: p}, strings.NewReader(want),
			"caddy_offload_upstream_available", "caddy_offload_upstream_limit", "caddy_offload_upstream_running"); err != nil {
			t.Error(err)
		}
	}
	expect("")
	pool.ReportUpstreams([]offloader.UpstreamState{{Name: "a:80", Available: true}, {Name: "b:80"}})
	permit, err := pool.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(offloader.Excluded)
	expect(`
		# HELP caddy_offload_upstream_available 1 for an upstream that gets new runs, 0 for others.
		# TYPE caddy_offload_upstream_available gauge
		caddy_offload_upstream_available{pool="one",upstream="a:80"} 1
		caddy_offload_upstream_available{pool="one",upstream="b:80"} 0
		# HELP caddy_offload_upstream_limit Permits of an upstream.
		# TYPE caddy_offload_upstream_limit gauge
		caddy_offload_upstream_limit{pool="one",upstream="a:80"} 2
		caddy_offload_upstream_limit{pool="one",upstream="b:80"} 3
		# HELP caddy_offload_upstream_running Permits of an upstream that are taken, by runs of all pools.
		# TYPE caddy_offload_upstream_running gauge
		caddy_offload_upstream_running{pool="one",upstream="a:80"} 1
		caddy_offload_upstream_running{pool="one",upstream="b:80"} 0
	`)
	pool.ReportUpstreams([]offloader.UpstreamState{{Name: "b:80", Available: true}})
	if got := testutil.CollectAndCount(Collector{Process: p}, "caddy_offload_upstream_running"); got != 1 {
		t.Errorf("%d upstreams are published, want the listed one", got)
	}
}

// Waiters that a breaker holds are counted until it has closed.
func TestMetricOfHeldWaiters(t *testing.T) {
	settings := offloader.DefaultSettings()
	settings.Concurrency = 1
	settings.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Hour, Probes: 1, Hold: time.Hour}
	p := processWith(t, settings)
	pool := p.Pools.Living()[0]
	expect := func(want float64) {
		t.Helper()
		testkit.Eventually(t, func() bool { return pool.Pool.Snapshot().Waiting == 1 })
		family := fmt.Sprintf("# HELP caddy_offload_breaker_held Requests that wait until the breaker has closed.\n# TYPE caddy_offload_breaker_held gauge\ncaddy_offload_breaker_held{pool=\"one\"} %v\n", want)
		if err := testutil.CollectAndCompare(Collector{Process: p}, strings.NewReader(family), "caddy_offload_breaker_held"); err != nil {
			t.Error(err)
		}
	}
	permit, err := pool.TryAcquire()
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		if permit, err := pool.Acquire(ctx); err == nil {
			permit.Release(offloader.Excluded)
		}
	}()
	expect(0)
	permit.Release(offloader.Failure)
	expect(1)
	leave()
	<-left
}
