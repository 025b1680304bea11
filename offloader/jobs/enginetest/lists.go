package enginetest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var lists = []test{
	{"pages have the newest jobs first", pagesNewestFirst},
	{"pages have the jobs that the query selects", pagesOfQueries},
	{"pages are stable while jobs come and go", pagesAreStable},
	{"open lists jobs that are not done", openListsWhatIsNotDone},
	{"jobs change while open lists them", changesWhileOpen},
	{"due lists ended jobs whose time has come", dueLists},
	{"due follows updates", dueFollowsUpdates},
}

// acceptMany accepts jobs whose IDs differ in their time, in a random order, and returns them
// with ascending IDs.
func (k *kit) acceptMany(n int, change func(i int, r *jobs.Record)) []*jobs.Record {
	k.Helper()
	all := make([]*jobs.Record, n)
	began := time.Now().Add(-time.Hour)
	for _, i := range rand.Perm(n) {
		r := record()
		r.ID = jobs.NewID(began.Add(time.Duration(i) * time.Second))
		if change != nil {
			change(i, r)
		}
		all[i] = k.accept(r, nil)
	}
	return all
}

// list returns a page.
func (k *kit) list(q jobs.Query) jobs.Page {
	k.Helper()
	page, err := k.engine.List(k.Context(), q)
	k.must(err)
	return page
}

// walk returns the records of all pages, and calls between after each page.
func (k *kit) walk(q jobs.Query, between func()) []*jobs.Record {
	k.Helper()
	var all []*jobs.Record
	for {
		page := k.list(q)
		all = append(all, page.Records...)
		if !page.More {
			return all
		}
		if len(page.Records) != q.Limit {
			k.Fatalf("a page has %d of %d records, and there are more", len(page.Records), q.Limit)
		}
		q.Before = all[len(all)-1].ID
		between()
	}
}

func pagesNewestFirst(k *kit) {
	if page := k.list(jobs.Query{Limit: 5}); len(page.Records) != 0 || page.More {
		k.Errorf("a page of an empty store: %v", page)
	}
	all := k.acceptMany(20, nil)
	slices.Reverse(all)
	for _, limit := range []int{1, 3, 10, 19, 20, 21, 1000} {
		got := k.walk(jobs.Query{Limit: limit}, func() {})
		k.sameIDs(got, all...)
		page := k.list(jobs.Query{Limit: limit})
		if page.More != (limit < 20) {
			k.Errorf("More %t in a page of %d of 20 jobs", page.More, limit)
		}
	}
	k.same(k.list(jobs.Query{Limit: 1}).Records[0], all[0])
	k.sameIDs(k.list(jobs.Query{Limit: 2, Before: all[18].ID}).Records, all[19])
	k.sameIDs(k.list(jobs.Query{Limit: 2, Before: all[19].ID}).Records)
}

func pagesOfQueries(k *kit) {
	all := k.acceptMany(60, func(i int, r *jobs.Record) {
		r.Route = []string{"report", "export"}[i%2]
		r.Tenant = []string{"acme", "acm", ""}[i%3]
		r.Owner = [32]byte{byte(i % 4)}
	})
	for i, r := range all {
		if i%5 == 0 {
			end(r, jobs.Failed, 0)
			k.update(r, nil)
		}
	}
	slices.Reverse(all)
	for range 100 {
		q := jobs.Query{
			Route:  pick("", "report", "export", "none"),
			Tenant: pick("", "acme", "acm", "ac"),
			Owner:  [32]byte{pick[byte](0, 1, 2, 9)},
			States: pick(nil, []jobs.State{jobs.Queued}, []jobs.State{jobs.Running, jobs.Failed}, []jobs.State{jobs.Dead}),
			Limit:  pick(1, 2, 5, 100),
		}
		var want []*jobs.Record
		for _, r := range all {
			if selects(q, r) {
				want = append(want, r)
			}
		}
		k.sameIDs(k.walk(q, func() {}), want...)
	}
}

// pick returns one of its arguments.
func pick[T any](choices ...T) T { return choices[rand.IntN(len(choices))] }

func selects(q jobs.Query, r *jobs.Record) bool {
	return (q.Route == "" || q.Route == r.Route) &&
		(q.Tenant == "" || q.Tenant == r.Tenant) &&
		(q.Owner == [32]byte{} || q.Owner == r.Owner) &&
		(len(q.States) == 0 || slices.Contains(q.States, r.State))
}

func pagesAreStable(k *kit) {
	all := k.acceptMany(60, nil)
	stay := slices.Clone(all[:40])
	leave := all[40:]
	rand.Shuffle(len(leave), func(i, j int) { leave[i], leave[j] = leave[j], leave[i] })
	var come []*jobs.Record
	got := k.walk(jobs.Query{Limit: 7}, func() {
		come = append(come, k.accept(record(), nil))
		for _, r := range leave[:min(3, len(leave))] {
			k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))
		}
		leave = leave[min(3, len(leave)):]
	})
	if !slices.IsSortedFunc(got, func(a, b *jobs.Record) int { return bytes.Compare(b.ID[:], a.ID[:]) }) {
		k.Error("the pages are not in order")
	}
	seen := make(map[jobs.ID]int)
	for _, r := range got {
		seen[r.ID]++
	}
	for _, r := range stay {
		if seen[r.ID] != 1 {
			k.Errorf("a job that was there all the time was listed %d times", seen[r.ID])
		}
	}
	for _, r := range come {
		if seen[r.ID] != 0 {
			k.Error("a job that is newer than the first page was listed")
		}
	}
	gone := all[0]
	k.must(k.engine.Remove(k.Context(), gone.ID, gone.Rev))
	k.sameIDs(k.list(jobs.Query{Limit: 1, Before: all[1].ID}).Records)
	k.must(k.engine.Remove(k.Context(), all[2].ID, all[2].Rev))
	k.sameIDs(k.list(jobs.Query{Limit: 5, Before: all[2].ID}).Records, all[1])
}

func openListsWhatIsNotDone(k *kit) {
	if got := k.opened(); len(got) != 0 {
		k.Errorf("%d jobs of an empty store are open", len(got))
	}
	all := k.acceptMany(len(jobs.States())*3, nil)
	var want []*jobs.Record
	for i, r := range all {
		r.State = jobs.States()[i/3]
		r.Hook.State = []jobs.HookState{"", jobs.HookPending, jobs.HookDelivered}[i%3]
		k.update(r, nil)
		if !r.State.Terminal() || r.Hook.State == jobs.HookPending {
			want = append(want, r)
		}
	}
	for _, again := range []func(){func() {}, k.reopen, k.crash} {
		again()
		got := k.opened()
		k.sameIDs(got, want...)
		for i := range min(len(got), len(want)) {
			k.same(got[i], want[i])
		}
	}
	for _, err := range k.engine.Open(k.Context()) {
		k.must(err)
		break
	}
	for _, r := range want {
		r.State, r.Hook.State = jobs.Cancelled, jobs.HookGivenUp
		k.update(r, nil)
	}
	k.sameIDs(k.opened())
}

func changesWhileOpen(k *kit) {
	all := k.acceptMany(300, nil)
	var listed []*jobs.Record
	var group sync.WaitGroup
	for r, err := range k.engine.Open(k.Context()) {
		k.must(err)
		listed = append(listed, r)
		r.Attempt++
		k.update(r, nil)
		if len(listed)%10 == 0 {
			k.same(k.get(r.ID), r)
			group.Go(func() {
				if _, err := k.engine.Accept(k.Context(), record(), jobs.Body{}); err != nil {
					k.Errorf("Accept: %v", err)
				}
			})
		}
	}
	group.Wait()
	if len(listed) < len(all) {
		k.Fatalf("%d of %d jobs were listed", len(listed), len(all))
	}
	k.sameIDs(listed[:len(all)], all...)
}

func dueLists(k *kit) {
	now := time.Now().UTC().Round(time.Millisecond)
	all := k.acceptMany(30, nil)
	var want []*jobs.Record
	for i, r := range all {
		if i%5 != 0 {
			end(r, jobs.Succeeded, 0)
		}
		r.KeepUntil = now.Add(time.Duration(i*7%30-15) * time.Minute)
		k.update(r, nil)
		if i%5 != 0 && !r.KeepUntil.After(now) {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, func(a, b *jobs.Record) int { return a.KeepUntil.Compare(b.KeepUntil) })
	for _, again := range []func(){func() {}, k.reopen, k.crash} {
		again()
		for _, limit := range []int{1, 5, len(want), 100} {
			got := k.due(now, limit)
			k.sameIDs(got, want[:min(limit, len(want))]...)
			k.same(got[0], want[0])
		}
		k.sameIDs(k.due(want[0].KeepUntil, 9), want[0])
		k.sameIDs(k.due(want[0].KeepUntil.Add(-1), 9))
	}
}

func (k *kit) due(now time.Time, limit int) []*jobs.Record {
	k.Helper()
	due, err := k.engine.Due(k.Context(), now, limit)
	k.must(err)
	return due
}

func dueFollowsUpdates(k *kit) {
	now := time.Now().UTC()
	r, other := k.accept(record(), nil), k.accept(record(), nil)
	end(other, jobs.Dead, 0)
	other.KeepUntil = now.Add(-time.Minute)
	k.update(other, nil)
	k.sameIDs(k.due(now, 9), other)
	end(r, jobs.Failed, 0)
	for _, until := range []time.Duration{-time.Second, time.Second, -time.Hour, -time.Second} {
		r.KeepUntil = now.Add(until)
		k.update(r, nil)
		switch {
		case until > 0:
			k.sameIDs(k.due(now, 9), other)
		case until < -time.Minute:
			k.sameIDs(k.due(now, 9), r, other)
		default:
			k.sameIDs(k.due(now, 9), other, r)
		}
	}
	r.State, r.Generation = jobs.Queued, 2
	k.update(r, nil)
	k.sameIDs(k.due(now, 9), other)
	k.must(k.engine.Remove(k.Context(), other.ID, other.Rev))
	k.sameIDs(k.due(now, 9))
}
