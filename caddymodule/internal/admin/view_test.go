package admin

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// The keys of a pool are a contract with the clients of the endpoint.
func TestPoolsAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		breaker := offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Second, Probes: 1}
		pool, err := offloader.New("reports", offloader.Settings{Concurrency: 1, Queue: 1, Breaker: &breaker})
		if err != nil {
			t.Fatal(err)
		}
		permit, err := pool.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			go func() {
				if permit, err := pool.Acquire(t.Context()); err == nil {
					permit.Release(offloader.Success)
				}
			}()
		}
		synctest.Wait()
		<-time.After(time.Second)
		got, err := json.Marshal(viewPool(pool.Snapshot(), pool.Configured()))
		if err != nil {
			t.Fatal(err)
		}
		want := `{"name":"reports","phase":"open","concurrency":1,"limit":1,"permits":1,"lent":0,"running":1,"running_max":1,"abandoned":0,"lingering":0,"preflights":0,"uploading":0,"predecessors":0,"upgraded":0,` +
			`"waiting":1,"waiting_max":1,"queue_limit":1,"oldest_wait_ns":1000000000,"newest_first":false,"mean_run_ns":0,"breaker":"closed","breaker_forced":false,"breaker_held":0,` +
			`"admitted_total":1,"left_total":0,"rejected_total":{"queue_full":1},` +
			`"ended_total":{"excluded":0,"failure":0,"success":0},"breaker_changed_total":{"closed":0,"half_open":0,"open":0}}`
		if string(got) != want {
			t.Errorf("the pool is\n%s, want\n%s", got, want)
		}
		permit.Release(offloader.Success)
		synctest.Wait()
	})
}

// A pool whose breaker holds callers, in front of upstreams, has more keys.
func TestHoldsAndUpstreamsAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		breaker := offloader.BreakerSettings{ConsecutiveFailures: 1, CoolDown: time.Second, Probes: 1, Hold: 5 * time.Second}
		pool, err := offloader.New("reports", offloader.Settings{
			Queue: 9, Breaker: &breaker, UpstreamConcurrency: 2, ConcurrencyOf: map[string]int{"a:80": 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		pool.ReportUpstreams([]offloader.UpstreamState{{Name: "a:80", Available: true, Weight: 3}, {Name: "b:80"}})
		permit, err := pool.TryAcquire()
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			go func() {
				if permit, err := pool.Acquire(ctx); err == nil {
					<-ctx.Done()
					permit.Release(offloader.Excluded)
				}
			}()
		}
		synctest.Wait()
		view := func() poolView { return viewPool(pool.Snapshot(), pool.Configured()) }
		if got, err := json.Marshal(view().Upstreams); err != nil || string(got) !=
			`[{"name":"a:80","available":true,"breaker":"off","limit":1,"running":1,"weight":3},{"name":"b:80","available":false,"breaker":"off","limit":2,"running":0,"weight":2}]` {
			t.Errorf("the upstreams are %s, %v", got, err)
		}
		pool.ReportUpstreams([]offloader.UpstreamState{{Name: "a:80", Available: true}, {Name: "b:80", Available: true}, {Name: "c:80", Available: true}})
		synctest.Wait() // both waiters run
		for range 3 {
			go func() {
				if permit, err := pool.Acquire(ctx); err == nil {
					<-ctx.Done()
					permit.Release(offloader.Excluded)
				}
			}()
		}
		synctest.Wait()
		permit.Release(offloader.Failure)
		<-time.After(time.Millisecond)
		v := view()
		if v.Breaker != "open" || v.BreakerHeld != 1 || v.HoldEndsIn != 5*time.Second-time.Millisecond || v.ProbesIn == 0 || v.LimitReason != "" {
			t.Errorf("held: %+v", v)
		}
		leave()
		synctest.Wait()
	})
}

// While probes run, the limit is theirs.
func TestTheLimitOfProbes(t *testing.T) {
	t.Parallel()
	s := offloader.Snapshot{Concurrency: 8, Limit: 1, HoldEndsIn: time.Second}
	if got := limitReason(s); got != "probing" {
		t.Errorf("the reason is %s", got)
	}
	s.Limit = 8
	if got := limitReason(s); got != "" {
		t.Errorf("the reason is %s", got)
	}
}

func TestOverriddenAsInConfigurations(t *testing.T) {
	t.Parallel()
	configured := offloader.Settings{Queue: 10, MaxWait: 90 * time.Second}
	for name, test := range map[string]struct {
		override offloader.Override
		want     map[string]string
	}{
		"nothing": {},
		"some": {
			offloader.Override{Concurrency: new(1), MaxWait: new(time.Second)},
			map[string]string{"concurrency": "off", "max_wait": "1m30s"},
		},
		"all": {
			offloader.Override{Concurrency: new(1), Queue: new(0), MaxWait: new(time.Second), Order: new(offloader.OrderFIFO), Linger: new(time.Second)},
			map[string]string{"concurrency": "off", "queue": "10", "max_wait": "1m30s", "order": "auto", "linger": "off"},
		},
	} {
		if got := settings.Overridable.Overridden(test.override, configured); !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
