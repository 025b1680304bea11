package enginetest

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var usages = []test{
	{"counters are exact after random changes", countersAreExact},
	{"counters are exact after changes at the same time", countersOfManyCallers},
}

// reference is what the counters are compared with: the jobs that are stored.
type reference struct {
	*kit
	jobs []*jobs.Record
}

var tenants = []string{"", "acme", "acme corp", "ümlaut"}

func countersAreExact(k *kit) {
	ref := &reference{kit: k}
	ref.compare()
	for i := range 300 {
		ref.change()
		if i%100 == 99 {
			pick(k.reopen, k.crash)()
		}
		if i%5 == 0 {
			ref.compare()
		}
	}
	for _, r := range ref.jobs {
		k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))
	}
	ref.jobs = nil
	ref.compare()
}

func countersOfManyCallers(k *kit) {
	all := &reference{kit: k}
	var group sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		group.Go(func() {
			own := &reference{kit: k}
			for range 60 {
				own.change()
			}
			mu.Lock()
			defer mu.Unlock()
			all.jobs = append(all.jobs, own.jobs...)
		})
	}
	group.Wait()
	all.compare()
	k.reopen()
	all.compare()
	for _, r := range all.jobs {
		k.same(k.get(r.ID), r)
	}
}

// change does one change to a random job.
func (ref *reference) change() {
	at := rand.IntN(len(ref.jobs) + 1)
	if at == len(ref.jobs) || len(ref.jobs) < 5 {
		r := record()
		r.Tenant = pick(tenants...)
		ref.jobs = append(ref.jobs, ref.accept(r, pattern(1, pick(0, 10, jobs.InlineBytes, jobs.InlineBytes+1))))
		return
	}
	r := ref.jobs[at]
	switch rand.IntN(6) {
	case 0:
		ref.must(ref.engine.Remove(ref.Context(), r.ID, r.Rev))
		ref.jobs = slices.Delete(ref.jobs, at, at+1)
	case 1:
		r.Generation, r.Attempt, r.State, r.Response = r.Generation+1, 0, jobs.Queued, nil
		ref.update(r, nil)
	case 2, 3:
		ref.succeed(r, pattern(2, pick(0, 10, jobs.InlineBytes, jobs.InlineBytes+1)))
	case 4:
		r.State = pick(jobs.Running, jobs.RetryWait, jobs.Dead, jobs.Expired)
		r.Response = nil
		ref.update(r, nil)
	default:
		stale := *r
		stale.Rev++
		stale.State = jobs.Cancelled
		ref.is(ref.engine.Update(ref.Context(), &stale, nil), jobs.ErrStale, "Update of another version")
		ref.is(ref.engine.Remove(ref.Context(), r.ID, stale.Rev), jobs.ErrStale, "Remove of another version")
	}
}

// compare counts the stored jobs, and compares.
func (ref *reference) compare() {
	ref.Helper()
	got, err := ref.engine.Usage(ref.Context())
	ref.must(err)
	states := make(map[jobs.State]int64)
	byTenant := make(map[string]jobs.TenantUsage)
	var bodyBytes, resultSize int64
	for _, r := range ref.jobs {
		states[r.State]++
		u := byTenant[r.Tenant]
		u.Jobs++
		if !r.State.Terminal() {
			u.Open++
		}
		u.Bytes += r.BodySize
		bodyBytes += r.BodySize
		if r.Response != nil {
			u.Bytes += r.Response.Size
			resultSize += r.Response.Size
		}
		byTenant[r.Tenant] = u
	}
	if n := int64(len(ref.jobs)); got.Jobs != n || got.BodyBytes != bodyBytes || got.ResultSize != resultSize {
		ref.Errorf("usage %+v: want %d jobs, %d bytes of bodies, %d of results", got, n, bodyBytes, resultSize)
	}
	for _, s := range jobs.States() {
		if got.States[s] != states[s] {
			ref.Errorf("%d jobs are %s, want %d", got.States[s], s, states[s])
		}
	}
	for _, tenant := range append(slices.Clone(tenants), "unknown") {
		u, err := ref.engine.TenantUsage(ref.Context(), tenant)
		ref.must(err)
		if u != byTenant[tenant] {
			ref.Errorf("usage of tenant %q: %+v, want %+v", tenant, u, byTenant[tenant])
		}
	}
}
