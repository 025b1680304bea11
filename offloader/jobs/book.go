package jobs

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/alarm"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/queue"
)

// book has in memory what the service must find without the engine: the jobs that have not
// ended, those with a pending webhook, and those that a caller holds or watches. It never
// calls the engine.
type book struct {
	mu       sync.Mutex
	entries  map[ID]*entry
	routes   map[string]*route
	tenants  map[string]*tenant
	stopping bool
	// suspect is the one job that runs of those during which the process has crashed.
	suspect *entry
	hooks   int
}

// entry is a job in memory.
type entry struct {
	id ID
	// turn is taken by the goroutine that changes the stored record. The stored version is in
	// rec while the job runs or was read last, else nil.
	turn chan struct{}
	rec  *Record

	// The others are guarded by book.mu.
	refs       int // of callers
	watchers   []chan struct{}
	part       part
	key        queue.Key
	route      *route
	tenant     *tenant
	size       int64
	rev        uint64
	generation int
	number     int // of the last attempt
	// changes in memory since the service has opened.
	changes  uint64
	hook     bool
	hookHost string
	suspect  bool
	storing  bool // the end of its attempt could not be stored yet
	left     End  // how the process has ended that has left its attempt, whose end is not stored yet
	doubt    bool // a write has failed, and may have had its effect
	offer    *Offer
	attempt  *Attempt
	alarm    *alarm.Alarm
	// awaited is the time of the next attempt, or of the next try of the webhook, as the record
	// has it. At ripe, which has a reading of the monotonic clock, the job has waited for that
	// long, wherever the wall clock is then.
	awaited, ripe time.Time
}

// part is where a job counts.
type part uint8

const (
	gone     part = iota // it has ended
	idle                 // it waits for its time, or is being accepted
	queued               // in the queue of its route
	offered              // its executor has it, and has not started it
	starting             // its executor has a permit for it, and its attempt is being stored
	running
)

// route is the queue of a route, and its executors.
type route struct {
	name     string
	entries  int
	bindings []*binding
	queue    queue.Queue[*entry]
	counts   [running + 1]int
	bytes    int64 // of the bodies of jobs that wait
	mean     float64
	// paused is until when no job is offered, after rejections in a row, by the monotonic clock.
	paused     time.Time
	rejections int
	// waitingFor is what the executor has said, for views.
	waitingFor string
	timer      *time.Timer // for the end of the pause
}

// cost returns how many seconds an attempt is expected to take.
func (rt *route) cost() float64 {
	if rt.mean > 0 {
		return rt.mean
	}
	return 1
}

// learn takes the duration of an attempt into the mean.
func (rt *route) learn(seconds float64) {
	if rt.mean == 0 {
		rt.mean = seconds
	}
	rt.mean += (seconds - rt.mean) / 8
}

// binding is an executor of a route.
type binding struct {
	executor Executor
	limits   RouteLimits
}

// tenant counts the jobs of a tenant.
type tenant struct {
	name           string
	entries        int
	waits, running int
	rate           time.Time // when its submissions are within its rate again, by the monotonic clock
}

func newBook() *book {
	return &book{entries: map[ID]*entry{}, routes: map[string]*route{}, tenants: map[string]*tenant{}}
}

// hold returns the entry of a job, which stays until it is released.
func (b *book) hold(id ID) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil {
		e = &entry{id: id, turn: make(chan struct{}, 1)}
		b.entries[id] = e
	}
	e.refs++
	return e
}

// release ends a hold.
func (b *book) release(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.refs--
	b.drop(e)
}

// drop forgets an entry that is not needed. The caller holds the lock.
func (b *book) drop(e *entry) {
	if e.refs > 0 || e.part != gone || e.hook || e.doubt || b.entries[e.id] != e {
		return
	}
	delete(b.entries, e.id)
	if e.route != nil {
		e.route.entries--
		e.tenant.entries--
	}
}

// routeOf returns the route of that name. The caller holds the lock.
func (b *book) routeOf(name string) *route {
	rt := b.routes[name]
	if rt == nil {
		rt = &route{name: name}
		b.routes[name] = rt
	}
	return rt
}

// tenantOf returns the tenant of that name. The caller holds the lock.
func (b *book) tenantOf(name string) *tenant {
	t := b.tenants[name]
	if t == nil {
		t = &tenant{name: name}
		b.tenants[name] = t
	}
	return t
}

// know sets the parts of an entry that never change. The caller holds the lock.
func (b *book) know(e *entry, r *Record) {
	if e.route == nil {
		e.route, e.tenant, e.size = b.routeOf(r.Route), b.tenantOf(r.Tenant), r.BodySize
		e.route.entries++
		e.tenant.entries++
	}
}

// place makes the entry count as a part, and moves it into and out of the queue. The caller
// holds the lock.
func (b *book) place(e *entry, to part) {
	from := e.part
	if from == to {
		return
	}
	rt := e.route
	e.part = to
	count := func(p part, n int) {
		rt.counts[p] += n
		if p == idle || p == queued || p == offered {
			rt.bytes += int64(n) * e.size
			e.tenant.waits += n
		}
		if p >= offered {
			e.tenant.running += n
		}
	}
	count(from, -1)
	count(to, +1)
	if from == queued {
		rt.queue.Remove(e.key)
	}
	if to == queued {
		rt.queue.Push(e.key, e)
	}
	if to < starting {
		e.attempt = nil
	}
	if to < offered && b.suspect == e {
		b.suspect = nil
	}
}

// update makes the entry as its stored record is; nil: it was removed. It wakes the watchers.
// The caller holds the lock.
func (b *book) update(e *entry, r *Record, now time.Time) {
	hook := false
	if r != nil {
		e.await(r, now)
	}
	switch {
	case r == nil:
		b.leave(e)
	case r.State.Terminal():
		b.know(e, r)
		hook = r.hookPending()
		e.hookHost = hostOf(r.Hook)
		b.leave(e)
	default:
		b.know(e, r)
		b.enter(e, r, now)
	}
	if r != nil {
		e.rev, e.generation, e.number = r.Rev, r.Generation, r.Attempt
	}
	if hook != e.hook {
		e.hook = hook
		if hook {
			b.hooks++
		} else {
			b.hooks--
		}
	}
	if e.doubt = false; e.part != running {
		e.storing, e.left = false, Closed
	}
	e.wake()
	b.drop(e)
}

// leave takes an entry that has ended out of its queue.
func (b *book) leave(e *entry) {
	if e.offer != nil {
		e.offer.stop(ErrTerminal)
	}
	if e.route != nil {
		b.place(e, gone)
	}
	e.suspect = false
}

// enter puts an entry where it belongs.
func (b *book) enter(e *entry, r *Record, now time.Time) {
	e.suspect = r.Crashes > 0
	switch {
	case r.State == Running:
		b.place(e, running)
	case e.early(now):
		b.place(e, idle)
	case e.part != offered && e.part != starting:
		key := queue.Key{Tenant: r.Tenant, Since: r.since(), ID: [22]byte(r.ID)}
		if e.part == queued && key != e.key {
			b.place(e, idle)
		}
		e.key = key
		b.place(e, queued)
	}
}

// await sets the time that the job waits for. The caller holds the lock.
func (e *entry) await(r *Record, now time.Time) {
	at, longest := r.awaits()
	if !at.Equal(e.awaited) {
		e.awaited, e.ripe = at, time.Now().Add(min(at.Sub(now), longest))
	}
}

// early reports whether the awaited time is still to come. The caller holds the lock.
func (e *entry) early(now time.Time) bool { return e.awaited.After(now) && e.ripe.After(time.Now()) }

// early is the same for a caller without the lock.
func (b *book) early(e *entry, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.early(now)
}

// soonest returns the time of the alarm of a job to which something happens at a time. The
// caller holds the lock.
func (e *entry) soonest(at, now time.Time) time.Time {
	if ripe := now.Add(time.Until(e.ripe)); e.early(now) && ripe.Before(at) {
		return ripe
	}
	return at
}

// wake wakes the watchers. The caller holds the lock.
func (e *entry) wake() {
	for _, w := range e.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// touch counts a change in memory. The caller holds the lock.
func (e *entry) touch() {
	e.changes++
	e.wake()
}

// wakeAll wakes all watchers.
func (b *book) wakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		e.wake()
	}
}

// watch adds a watcher.
func (b *book) watch(id ID) (wake <-chan struct{}, stop func()) {
	e := b.hold(id)
	w := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	e.watchers = append(e.watchers, w)
	return w, sync.OnceFunc(func() {
		b.mu.Lock()
		e.watchers = slices.DeleteFunc(e.watchers, func(o chan struct{}) bool { return o == w })
		b.mu.Unlock()
		b.release(e)
	})
}

// view adds to a record what only the memory has.
func (b *book) view(r *Record, l *Limits, now time.Time) View {
	v := View{Record: *r}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[r.ID]
	var changes uint64
	if e != nil {
		changes = e.changes
	}
	v.Version = fmt.Sprintf("%d-%d.%d", r.Generation, r.Rev, changes)
	known := e != nil && e.rev == r.Rev
	if r.State == RetryWait && (known && e.part != idle || !r.NotBefore.After(now)) {
		v.State = Queued
	}
	if r.Response != nil {
		v.Bytes = r.Response.Size
	}
	if !known {
		return v
	}
	switch e.part {
	case idle, queued, offered, starting:
		v.Position, v.WaitingFor = b.waits(e, l)
	case running:
		if a := e.attempt; a != nil {
			v.Progress = a.progress
			v.Bytes, _ = a.live.Size()
			if _, begun := a.live.Head(); begun {
				v.State = Streaming
			}
		}
		if e.storing {
			v.WaitingFor = "store"
		}
	case gone:
	}
	return v
}

// waits returns the position of a job that waits, and why it does. The caller holds the lock.
func (b *book) waits(e *entry, l *Limits) (position int, reason string) {
	rt := e.route
	switch {
	case e.part == idle:
		return 0, "time"
	case e.part != queued:
		position = 1
	default:
		position = rt.queue.Position(e.key) + rt.counts[offered]
	}
	switch {
	case len(rt.bindings) == 0:
		return position, "route"
	case e.part == queued && l.TenantRunning > 0 && e.tenant.running >= l.TenantRunning:
		return position, "tenant"
	case rt.waitingFor != "" && (rt.counts[offered] > 0 || rt.paused.After(time.Now())):
		return position, rt.waitingFor
	}
	return position, "permit"
}

// tidy forgets routes and tenants without jobs.
func (b *book) tidy() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for name, t := range b.tenants {
		if t.entries == 0 && !t.rate.After(now) {
			delete(b.tenants, name)
		}
	}
	for name, rt := range b.routes {
		if rt.entries == 0 && len(rt.bindings) == 0 && !rt.paused.After(now) {
			delete(b.routes, name)
		}
	}
}
