// Package queue orders the waiting jobs of a route. Tenants share the time of the executor in
// equal parts, whatever the number of their jobs; among the jobs of a tenant, the oldest is
// first.
//
// A tenant has a virtual time: the seconds that its jobs have run. The tenant with the least
// is served next. One that was idle begins at the time of the queue, so that it cannot save
// up. The time of the queue is about the mean of its tenants: so new tenants without end
// delay the others, but do not keep them from being served.
package queue

import (
	"bytes"
	"container/heap"
	"slices"
	"strings"
	"time"
)

// Key is the place of a job.
type Key struct {
	Tenant string
	// Since is the time from which the job waits.
	Since time.Time
	ID    [22]byte
}

// Queue is the queue of a route. The zero value is empty. It has no lock.
type Queue[T any] struct {
	tenants map[string]*tenant[T]
	ready   tenants[T] // those with jobs
	length  int
	clock   float64
	prunes  int // the number of tenants at which the idle ones are looked for
}

type tenant[T any] struct {
	name  string
	used  float64 // virtual time
	index int     // in ready, -1 if it is not there
	jobs  []waiting[T]
}

type waiting[T any] struct {
	key   Key
	value T
}

// Len returns the number of jobs.
func (q *Queue[T]) Len() int { return q.length }

// Tenants returns the number of tenants that the queue remembers.
func (q *Queue[T]) Tenants() int { return len(q.tenants) }

// Push adds a job.
func (q *Queue[T]) Push(key Key, value T) {
	t := q.tenant(key.Tenant)
	i, _ := t.find(key)
	t.jobs = slices.Insert(t.jobs, i, waiting[T]{key, value})
	q.length++
	if t.index < 0 {
		t.used = max(t.used, q.clock)
		heap.Push(&q.ready, t)
	}
}

// Remove removes a job, and reports whether it was there.
func (q *Queue[T]) Remove(key Key) bool {
	t := q.tenants[key.Tenant]
	if t == nil {
		return false
	}
	i, found := t.find(key)
	if found {
		q.take(t, i)
	}
	return found
}

// Pop removes the next job that may run, and returns it: its tenant is served, and it is fit.
// The cost in seconds is what its run is expected to take; Charge corrects it.
func (q *Queue[T]) Pop(cost float64, served func(tenant string) bool, fit func(T) bool) (value T, ok bool) {
	var passed []*tenant[T]
	defer func() {
		for _, t := range passed {
			heap.Push(&q.ready, t)
		}
	}()
	for len(q.ready) > 0 {
		t := q.ready[0]
		i := -1
		if served(t.name) {
			i = slices.IndexFunc(t.jobs, func(w waiting[T]) bool { return fit(w.value) })
		}
		if i >= 0 {
			q.advance(t.used, cost)
			t.used += cost
			heap.Fix(&q.ready, 0)
			return q.take(t, i), true
		}
		passed = append(passed, heap.Pop(&q.ready).(*tenant[T]))
	}
	return value, false
}

// advance moves the time of the queue when a tenant is served, which has the least time of all.
func (q *Queue[T]) advance(least, cost float64) {
	part := cost / float64(len(q.ready))
	q.clock = min(max(q.clock, least)+part, least+cost)
}

// Charge adds seconds to the time of a tenant. They may be negative.
func (q *Queue[T]) Charge(name string, seconds float64) {
	t := q.tenants[name]
	if t == nil {
		if seconds <= 0 || q.length == 0 {
			return
		}
		t = q.tenant(name)
		t.used = q.clock
	}
	t.used += seconds
	if t.index >= 0 {
		heap.Fix(&q.ready, t.index)
	}
	q.drop(t)
}

// Position returns the place of a job from 1, zero if it is not there. It takes the jobs to
// have equal length, so that the tenants take turns.
func (q *Queue[T]) Position(key Key) int {
	own := q.tenants[key.Tenant]
	if own == nil {
		return 0
	}
	before, found := own.find(key)
	if !found {
		return 0
	}
	position := before + 1
	for _, t := range q.ready {
		switch {
		case t == own:
		case t.before(own):
			position += min(len(t.jobs), before+1)
		default:
			position += min(len(t.jobs), before)
		}
	}
	return position
}

// Oldest returns the time from which the oldest job waits, the zero time without jobs.
func (q *Queue[T]) Oldest() time.Time {
	var oldest time.Time
	for _, t := range q.ready {
		if since := t.jobs[0].key.Since; oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	return oldest
}

// tenant returns the tenant of that name.
func (q *Queue[T]) tenant(name string) *tenant[T] {
	t := q.tenants[name]
	if t == nil {
		if q.tenants == nil {
			q.tenants = map[string]*tenant[T]{}
		}
		q.prune()
		t = &tenant[T]{name: name, index: -1}
		q.tenants[name] = t
	}
	return t
}

// take removes the i-th job of a tenant.
func (q *Queue[T]) take(t *tenant[T], i int) T {
	value := t.jobs[i].value
	if i == 0 {
		t.jobs[0] = waiting[T]{}
		t.jobs = t.jobs[1:] // without moving the others
	} else {
		t.jobs = slices.Delete(t.jobs, i, i+1)
	}
	q.length--
	if q.length == 0 {
		// There is nothing to share.
		q.tenants, q.ready, q.clock = nil, nil, 0
		return value
	}
	if len(t.jobs) == 0 {
		t.jobs = nil
		heap.Remove(&q.ready, t.index)
		q.drop(t)
	}
	return value
}

// drop forgets a tenant without jobs that has no more time than a new one.
func (q *Queue[T]) drop(t *tenant[T]) {
	if t.index < 0 && t.used <= q.clock {
		delete(q.tenants, t.name)
	}
}

// prune forgets idle tenants when there are many of them.
func (q *Queue[T]) prune() {
	if len(q.tenants) < max(q.prunes, 64) {
		return
	}
	for _, t := range q.tenants {
		q.drop(t)
	}
	q.prunes = 2 * len(q.tenants)
}

func (t *tenant[T]) find(key Key) (int, bool) {
	// A new job is behind all others nearly always.
	if n := len(t.jobs); n == 0 || compare(t.jobs[n-1].key, key) < 0 {
		return n, false
	}
	return slices.BinarySearchFunc(t.jobs, key, func(w waiting[T], key Key) int {
		return compare(w.key, key)
	})
}

func compare(a, b Key) int {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

func (t *tenant[T]) before(other *tenant[T]) bool {
	if t.used != other.used {
		return t.used < other.used
	}
	return strings.Compare(t.name, other.name) < 0
}

// tenants is a heap.
type tenants[T any] []*tenant[T]

func (h tenants[T]) Len() int           { return len(h) }
func (h tenants[T]) Less(i, j int) bool { return h[i].before(h[j]) }
func (h tenants[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *tenants[T]) Push(t any) {
	added := t.(*tenant[T])
	added.index = len(*h)
	*h = append(*h, added)
}

func (h *tenants[T]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}
