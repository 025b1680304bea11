package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func (d *disk) open() []*jobs.Record {
	var open []*jobs.Record
	for _, id := range d.order {
		if j := d.jobs[id]; j.open() {
			open = append(open, j.record())
		}
	}
	return open
}

func (d *disk) due(now time.Time, limit int) []*jobs.Record {
	var due []*job
	for _, id := range d.order {
		if j := d.jobs[id]; j.stored.State.Terminal() && !j.stored.KeepUntil.After(now) {
			due = append(due, j)
		}
	}
	slices.SortStableFunc(due, func(a, b *job) int { return a.stored.KeepUntil.Compare(b.stored.KeepUntil) })
	due = due[:min(len(due), limit)]
	records := make([]*jobs.Record, len(due))
	for i, j := range due {
		records[i] = j.record()
	}
	return records
}

func (d *disk) list(q jobs.Query) jobs.Page {
	var page jobs.Page
	end := len(d.order)
	if !q.Before.IsZero() {
		end = d.position(q.Before)
	}
	for _, id := range slices.Backward(d.order[:end]) {
		j := d.jobs[id]
		if !j.matches(q) {
			continue
		}
		if len(page.Records) == q.Limit {
			page.More = true
			break
		}
		page.Records = append(page.Records, j.record())
	}
	return page
}

func (j *job) matches(q jobs.Query) bool {
	r := j.stored
	return (len(q.States) == 0 || slices.Contains(q.States, r.State)) &&
		cmp.Or(q.Route, r.Route) == r.Route &&
		cmp.Or(q.Tenant, r.Tenant) == r.Tenant &&
		cmp.Or(q.Owner, r.Owner) == r.Owner
}

func (d *disk) usage() jobs.Usage {
	u := jobs.Usage{States: make(map[jobs.State]int64)}
	for _, j := range d.jobs {
		u.Jobs++
		u.States[j.stored.State]++
		u.BodyBytes += j.body.Size
		u.ResultSize += j.resultSize()
	}
	return u
}

// bytes returns what counts for the limit.
func (d *disk) bytes() int64 {
	var n int64
	for _, j := range d.jobs {
		n += j.body.Size + j.resultSize()
	}
	return n
}

func (d *disk) tenant(tenant string) jobs.TenantUsage {
	var u jobs.TenantUsage
	for _, j := range d.jobs {
		if j.stored.Tenant != tenant {
			continue
		}
		u.Jobs++
		u.Bytes += j.body.Size + j.resultSize()
		if !j.stored.State.Terminal() {
			u.Open++
		}
	}
	return u
}
