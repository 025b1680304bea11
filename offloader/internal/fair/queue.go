// Package fair decides which of a pool's waiters gets the next permit: first by class, then
// by key, which get equal or weighted permit-time, and within a key in order. It uses
// neither pools nor clocks, and has no lock. See docs/decisions/031-fair-queueing.md.
package fair

import (
	"slices"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

// Rules are the settings of a queue.
type Rules struct {
	// Keyed is false if all callers count as one key.
	Keyed bool
	// PerKey is the number of permits that a key may hold, and QueuePerKey the number of
	// its callers that may wait. Zero: no bound.
	PerKey, QueuePerKey int
	// Permits is the number of permits, zero without a limit. Places is the length of the
	// queue.
	Permits, Places int
	// Weights of the classes, the most urgent one first. There is at least one class.
	Weights []int
}

// Queue is a fair queue. Use [New].
type Queue struct {
	rules   Rules
	classes []*class
	keys    keys
	virtual int64            // of the classes
	running list.List[*Seat] // those with permits
}

// New returns an empty queue.
func New(r Rules) *Queue {
	q := &Queue{rules: r, keys: keys{named: make(map[string]*key)}}
	for i, weight := range r.Weights {
		c := &class{index: i, account: account{weight: int64(weight)}}
		c.bucket = &flow{account: account{weight: 1}, class: c}
		q.classes = append(q.classes, c)
	}
	return q
}

// Newcomer is a caller that may come.
type Newcomer struct {
	Key   string
	Class int
	Cost  int
	Turn  bool

	Placeless bool
}

func (q *Queue) keyOf(name string) string {
	if q.rules.Keyed {
		return name
	}
	return ""
}

// Ready reports whether a waiter may get a permit, if there is one.
func (q *Queue) Ready() bool {
	return slices.ContainsFunc(q.classes, func(c *class) bool { return len(c.backlog) > 0 })
}

// Allows reports whether the newcomer's key may hold its permits now.
func (q *Queue) Allows(n Newcomer) bool {
	k := q.keys.find(q.keyOf(n.Key))
	return k == nil || k.allows(n.Cost, q.rules.PerKey)
}

// KeyFull reports whether the newcomer's key has all of its places.
func (q *Queue) KeyFull(n Newcomer) bool {
	if q.rules.QueuePerKey == 0 || n.Key == "" {
		return false
	}
	k := q.keys.find(q.keyOf(n.Key))
	return k != nil && k.waiting-k.placeless >= q.rules.QueuePerKey
}

// LessUrgent returns the waiter that gives way to a newcomer of a more urgent class: the
// youngest one of the least urgent class that has more waiters than its part of the places.
// It is nil if there is none.
func (q *Queue) LessUrgent(n Newcomer) *Seat {
	for i := len(q.classes) - 1; i > n.Class; i-- {
		c := q.classes[i]
		if e := c.all.Back(); e != nil && c.waiting > q.placesOf(c) {
			return e.Value
		}
	}
	return nil
}

// placesOf returns the number of places of a class in the queue, by its weight.
func (q *Queue) placesOf(c *class) int {
	weights := 0
	for _, w := range q.rules.Weights {
		weights += w
	}
	return q.rules.Places * int(c.weight) / weights
}

// Greediest returns a waiter of the key that has the most waiters in the newcomer's class:
// its last one to be served, in order of age or against it. It is nil if the newcomer's key
// would then have no fewer waiters.
func (q *Queue) Greediest(n Newcomer, oldest bool) *Seat {
	c := q.classes[n.Class]
	own := 0
	if f := q.flowOf(n); f != nil {
		own = f.all.Len()
	}
	if c.longest == 0 || (!n.Turn && c.longest < own+2) {
		return nil
	}
	return last(c.lengths[c.longest].Front().Value, oldest)
}

// Own returns the waiter of the newcomer's key and class that is served last.
func (q *Queue) Own(n Newcomer, oldest bool) *Seat {
	if f := q.flowOf(n); f != nil && f.all.Len() > 0 {
		return last(f, oldest)
	}
	return nil
}

func last(f *flow, oldest bool) *Seat {
	if oldest {
		return f.all.Back().Value
	}
	return f.all.Front().Value
}

// flowOf returns the flow that a newcomer would join, nil if there is none yet.
func (q *Queue) flowOf(n Newcomer) *flow {
	k := q.keys.find(q.keyOf(n.Key))
	switch {
	case k == nil:
		return nil
	case !k.known:
		return q.classes[n.Class].bucket
	case n.Class < len(k.flows):
		return k.flows[n.Class]
	}
	return nil
}

// Enter prepares the seat of a newcomer, which then waits or is granted its permits.
func (q *Queue) Enter(s *Seat, n Newcomer, now int64) {
	s.Cost, s.Turn, s.Placeless = n.Cost, n.Turn, n.Placeless
	s.class = q.classes[n.Class]
	flood := q.keys.flood
	s.key = q.keys.obtain(q.keyOf(n.Key), now)
	if q.keys.flood && !flood {
		q.share(q.keys.suspects(), now)
	}
	s.flow = q.keys.flow(s.key, s.class)
}

// share moves the waiters of suspects to the flow that all unknown keys share.
func (q *Queue) share(suspects []*key, now int64) {
	for _, k := range suspects {
		var seats []*Seat
		for _, f := range k.flows {
			if f == nil {
				continue
			}
			for _, l := range [...]*list.List[*Seat]{&f.turns, &f.all} {
				for e := l.Front(); e != nil; e = e.Next() {
					seats = append(seats, e.Value)
				}
			}
		}
		for _, s := range seats {
			q.take(s)
		}
		k.known = false
		q.keys.known--
		for _, s := range seats {
			s.flow = s.class.bucket
			q.Wait(s, now)
		}
	}
}

// Wait queues a caller.
func (q *Queue) Wait(s *Seat, now int64) {
	s.class.waiting++
	s.key.waits(s, 1)
	s.served.Value = s
	if !s.Turn {
		s.class.lengthen(s.flow, 1)
		s.ofFlow.Value, s.ofClass.Value = s, s
		s.flow.all.Push(&s.ofFlow)
		s.class.all.Push(&s.ofClass)
	}
	if s.key.aside.Len() > 0 || !s.key.allows(s.Cost, q.rules.PerKey) {
		s.aside = true
		s.key.aside.Push(&s.served)
		return
	}
	q.line(s, now)
}

// line puts a waiter into the line of those that may get a permit.
func (q *Queue) line(s *Seat, now int64) {
	f := s.flow
	s.key.inLine += s.Cost
	f.lineOf(s).Push(&s.served)
	if f.ready() > 1 {
		return
	}
	q.activate(f)
	f.seq = f.class.seq
	f.class.seq++
	f.tag = f.at(now)
	f.class.backlog.push(f)
}

// activate ends the idle time of a flow, and of its class.
func (q *Queue) activate(f *flow) {
	c := f.class
	if !c.busy() {
		c.join(q.virtual - q.credit(c))
	}
	f.join(c.virtual)
	if f.held == 0 {
		c.active++
	}
}

// credit returns the virtual time that a class saves up while it is idle, so that its
// bursts go first as long as they are within its share: the share in a moment of debtFor.
// The least urgent class saves nothing up.
func (q *Queue) credit(c *class) int64 {
	if c.index == len(q.classes)-1 {
		return 0
	}
	return c.scale(int64(debtFor) / (q.weights() + c.weight) * c.weight * q.permits())
}

// permits returns the number of permits or, if they are not limited, of those in use.
func (q *Queue) permits() int64 {
	if q.rules.Permits > 0 {
		return int64(q.rules.Permits)
	}
	held := int64(0)
	for _, c := range q.classes {
		held += c.held
	}
	return max(held, 1)
}

// Leave takes a waiter that gets no permit out of the queue.
func (q *Queue) Leave(s *Seat, now int64) {
	q.take(s)
	q.admit(s.key, now)
	q.keys.release(s.key, now)
}

// take takes a waiter out of all lists.
func (q *Queue) take(s *Seat) {
	s.class.waiting--
	s.key.waits(s, -1)
	if !s.Turn {
		s.class.lengthen(s.flow, -1)
		s.flow.all.Remove(&s.ofFlow)
		s.class.all.Remove(&s.ofClass)
	}
	if s.aside {
		s.aside = false
		s.key.aside.Remove(&s.served)
		return
	}
	f := s.flow
	s.key.inLine -= s.Cost
	f.lineOf(s).Remove(&s.served)
	if f.ready() == 0 {
		f.class.backlog.remove(f)
		if f.held == 0 {
			f.class.active--
		}
	}
}

// admit lets the next waiters of a key get permits, as far as the bound of the key allows.
func (q *Queue) admit(k *key, now int64) {
	for k.aside.Len() > 0 && k.allows(k.aside.Front().Value.Cost, q.rules.PerKey) {
		s := k.aside.Front().Value
		k.aside.Remove(&s.served)
		s.aside = false
		q.line(s, now)
	}
}

// Next returns the waiter that gets the next permit, nil if none may get one. Within a key
// that is the oldest or the newest waiter.
func (q *Queue) Next(now int64, oldest bool) *Seat {
	var next *class
	for _, c := range q.classes {
		if len(c.backlog) > 0 && (next == nil || c.at(now) < next.at(now)) {
			next = c
		}
	}
	if next == nil {
		return nil
	}
	return next.next(now).first(oldest)
}

// Grant gives a waiter its permits.
func (q *Queue) Grant(s *Seat, now int64) {
	q.take(s)
	q.Start(s, now)
}

// Start gives a newcomer its permits.
func (q *Queue) Start(s *Seat, now int64) {
	f, c := s.flow, s.class
	if f.held == 0 && f.ready() == 0 {
		q.activate(f)
	}
	s.granted, s.charge = now, c.charge(f, s.Cost)
	q.virtual = max(q.virtual, c.at(now))
	c.virtual = max(c.virtual, f.at(now))
	s.key.held += s.Cost
	c.grant(s)
	f.grant(s)
	s.served.Value = s
	q.running.Push(&s.served)
	q.changed(f, now)
}

// End takes the permits back. If the run was not used, its length is ignored.
func (q *Queue) End(s *Seat, now int64, used bool) {
	f, c := s.flow, s.class
	if used {
		f.run.add(now-s.granted, 4)
		c.run.add(now-s.granted, 8)
	}
	f.end(s, now, c.virtual, debt(s, now, 1, int64(c.active), q.permits()))
	c.end(s, now, q.virtual, debt(s, now, c.weight, q.weights(), q.permits()))
	s.key.held -= s.Cost
	q.running.Remove(&s.served)
	if f.held == 0 && f.ready() == 0 {
		c.active--
	}
	q.changed(f, now)
	q.admit(s.key, now)
	q.keys.release(s.key, now)
}

// changed is called when the virtual time of a flow has changed: it updates the flow's
// place in the order of service.
func (q *Queue) changed(f *flow, now int64) {
	if f.ready() > 0 {
		f.tag = f.at(now)
		f.class.backlog.fix(f)
	}
}

// weights returns the sum of the weights of the classes that wait or run.
func (q *Queue) weights() int64 {
	var sum int64
	for _, c := range q.classes {
		if c.busy() {
			sum += c.weight
		}
	}
	return sum
}

// Arrange replaces the rules of a queue without waiters. moved returns the new class for
// the runs of a class, or a negative number for the last class. If the classes or the keys
// change, the accounts start again; only the permits in use stay counted.
func (q *Queue) Arrange(r Rules, moved func(class int) int) {
	same := r.Keyed == q.rules.Keyed && slices.Equal(r.Weights, q.rules.Weights)
	for i := range q.rules.Weights {
		same = same && moved(i) == i
	}
	if same {
		q.rules = r
		return
	}
	fresh := New(r)
	q.rules, q.classes, q.virtual = r, fresh.classes, 0
	for _, k := range q.keys.named {
		clear(k.flows)
	}
	for e := q.running.Front(); e != nil; e = e.Next() {
		s := e.Value
		to := moved(s.class.index)
		if to < 0 {
			to = len(q.classes) - 1
		}
		q.move(s, q.classes[to])
	}
}

// move counts a run for another class from now on.
func (q *Queue) move(s *Seat, c *class) {
	s.class, s.flow = c, q.keys.flow(s.key, c)
	if s.flow.held == 0 {
		c.active++
	}
	c.hold(s)
	s.flow.hold(s)
}

// Count returns the number of waiters of a class, and of permits that it holds.
func (q *Queue) Count(class int) (waiting, running int) {
	c := q.classes[class]
	return c.waiting, int(c.held)
}
