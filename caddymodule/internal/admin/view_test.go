package admin

import (
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
		want := `{"name":"reports","phase":"open","concurrency":1,"limit":1,"lent":0,"running":1,"abandoned":0,"lingering":0,"uploading":0,"predecessors":0,"upgraded":0,` +
			`"waiting":1,"queue_limit":1,"oldest_wait_ns":1000000000,"newest_first":false,"mean_run_ns":0,"breaker":"closed","breaker_forced":false,` +
			`"admitted_total":1,"left_total":0,"rejected_total":{"queue_full":1},` +
			`"ended_total":{"excluded":0,"failure":0,"success":0},"breaker_changed_total":{"closed":0,"half_open":0,"open":0}}`
		if string(got) != want {
			t.Errorf("the pool is\n%s, want\n%s", got, want)
		}
		permit.Release(offloader.Success)
		synctest.Wait()
	})
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
