package bolt_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

var scale = flag.Int("bolt.scale", 20_000, "how many jobs BenchmarkScale stores")

// stored fills a store with jobs that have ended, of ten tenants and owners.
func stored(b *testing.B, e *bolt.Engine, n int) {
	b.Helper()
	const callers = 256
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := c; i < n; i += callers {
				r := newRecord()
				r.Tenant, r.Owner, r.Route = fmt.Sprint("tenant", i%10), [32]byte{1, byte(i % 10)}, fmt.Sprint("route", i%10)
				r.State, r.Ended, r.KeepUntil = jobs.Succeeded, time.Now(), time.Now().Add(time.Hour)
				if i%20 == 0 {
					r.State = jobs.Dead
				}
				if _, err := e.Accept(b.Context(), r, jobs.Body{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkScale compares the costs of a store with many jobs with those of one with 1,000.
func BenchmarkScale(b *testing.B) {
	var times [2]map[string]time.Duration
	for i, n := range []int{1000, *scale} {
		folder := b.TempDir()
		e := open(b, folder, bolt.Options{})
		stored(b, e, n)
		times[i] = map[string]time.Duration{}
		var some *jobs.Record
		measure := func(name string, f func() error) {
			var all []time.Duration
			for range 300 {
				began := time.Now()
				if err := f(); err != nil {
					b.Fatal(name, err)
				}
				all = append(all, time.Since(began))
			}
			times[i][name] = median(all)
		}
		list := func(q jobs.Query) func() error {
			return func() error {
				q.Limit = 50
				page, err := e.List(b.Context(), q)
				if err == nil && len(page.Records) > 0 {
					some = page.Records[0]
				}
				return err
			}
		}
		measure("list", list(jobs.Query{}))
		measure("list-tenant", list(jobs.Query{Tenant: "tenant7"}))
		measure("list-owner", list(jobs.Query{Owner: [32]byte{1, 7}}))
		measure("list-route", list(jobs.Query{Route: "route3"}))
		measure("list-dead", list(jobs.Query{States: []jobs.State{jobs.Dead}}))
		measure("get", func() error { _, err := e.Get(b.Context(), some.ID); return err })
		measure("tenant", func() error { _, err := e.TenantUsage(b.Context(), "tenant7"); return err })
		measure("accept", func() error { _, err := e.Accept(b.Context(), newRecord(), jobs.Body{}); return err })
		must(b, e.Close())
		began := time.Now()
		e = open(b, folder, bolt.Options{})
		times[i]["open"] = time.Since(began)
		must(b, e.Close())
	}
	for name, many := range times[1] {
		b.ReportMetric(float64(many)/float64(times[0][name]), name+"-x")
	}
	b.ReportMetric(float64(times[1]["open"].Milliseconds()), "open-ms")
}
