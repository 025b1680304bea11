package offloader

import (
	"sync"
	"time"
)

// UnknownPlace is the value of [Record.Before] for a waiter that left the queue from its
// middle, where its place is not known.
const UnknownPlace = -1

// Displacer is the kind of the newcomer that took the place of a waiter.
type Displacer uint8

const (
	// NotDisplaced: the caller kept its place until the decision.
	NotDisplaced Displacer = iota
	// ByNewer: the queue was full and served newest first.
	ByNewer
	// ByTurn: the queue was full, and the newcomer came back at its turn.
	ByTurn
	// ByUrgent: the queue was full, and the newcomer's class was more urgent.
	ByUrgent
	// ByFair: the queue was full, and the newcomer's key had fewer waiters.
	ByFair
)

// reason is that of the displaced caller.
func (d Displacer) reason() Reason {
	if d == ByUrgent || d == ByFair {
		return Displaced
	}
	return QueueFull
}

// Record describes a pool's decision about one caller, with the numbers behind it. Numbers
// of the queue and the permits are those at the decision. If the caller has waited for its
// permit, they are those at the moment when it joined the queue.
type Record struct {
	// Reason of the rejection. It is zero for a caller that got a permit, or left.
	Reason Reason

	// Joined: the caller joined the queue. At that moment Ahead waiters were to be served
	// before it, and Predicted was its predicted wait, zero if no run had ended. Waited is
	// its time in the queue until the decision.
	Joined    bool
	Ahead     int
	Predicted time.Duration
	Waited    time.Duration

	// Before is the number of waiters that were to be served before the caller, or
	// UnknownPlace. Run is the time for which a run takes one permit, zero before a run has
	// ended. Rest is the predicted time until the caller's permit: Before + 1 runs,
	// Concurrency at a time. It is zero if it cannot be computed.
	Before int
	Run    time.Duration
	Rest   time.Duration

	// Waiting is the length of the queue, including the caller if it waited. QueueLimit,
	// MaxWait and Order are the settings in force; a zero MaxWait is no bound. NewestFirst:
	// the queue was too long to be served in order.
	Waiting     int
	QueueLimit  int
	MaxWait     time.Duration
	Order       Order
	NewestFirst bool

	// Running is the number of permits in use, Limit the number that could be in use, as in
	// a Snapshot. Lent and WarmingUp explain a Limit below Concurrency, the setting in
	// force. Configured is that setting without an override. Zero means no limit, but a
	// zero Limit may also mean that all permits are lent.
	Running     int
	Limit       int
	Lent        int
	WarmingUp   int
	Concurrency int
	Configured  int
	// Paused: the pool gave out no permits. Held: it kept its callers waiting while the
	// breaker was not closed, by BreakerSettings.Hold.
	Paused bool
	Held   bool
	// BusyFor is the time for which all permits had been held by the same runs, zero while
	// one was free.
	BusyFor time.Duration
	// Capped is the number of permits that capped callers held (Ticket.CappedBy),
	// CappedLimit its bound.
	Capped      int
	CappedLimit int

	// Claim is the caller's claim, with the class and the cost as the pool counts them. It
	// is empty in a pool that needs no claims. KeyWaiting is the number of waiters of the
	// caller's key when it was rejected with the reason KeyQueueFull.
	Claim      Claim
	KeyWaiting int

	// Displaced says whether a newcomer took the place of the caller.
	Displaced Displacer

	// Breaker is the state of the breaker, BreakerForced whether an operator held it
	// there, ProbesIn the time until an open breaker probes.
	Breaker       BreakerState
	BreakerForced bool
	ProbesIn      time.Duration

	// Retry is the advice of [Ticket.NextRetry] in whole seconds, zero if none was given.
	Retry time.Duration
}

// record is a Record in a ticket. The gate's mutex guards it while its caller waits; else
// the caller owns it.
type record struct {
	Record
	by     Caller  // has taken the place
	waiter *waiter // of the ticket, nil while it does not wait; guarded by the gate's mutex
}

// records are reused: under overload most callers need one.
var records = sync.Pool{New: func() any { return new(record) }}

// Record returns the record of the pool's last decision about the caller. It returns false
// if there is none: the caller has got a permit at once, or the pool has not decided yet.
// Only the caller may call it, after Acquire or Announce, and before Forget.
func (t *Ticket) Record() (Record, bool) {
	if t.record == nil {
		return Record{}, false
	}
	r := t.record.Record
	r.Configured = t.Pool.Configured().Concurrency
	return r, true
}

// DisplacedBy returns the caller that took this caller's place in the queue. It is nil if
// there is none, or if that caller has no ticket. It may be called whenever Record may.
func (t *Ticket) DisplacedBy() Caller {
	if t.record == nil {
		return nil
	}
	return t.record.by
}

// Forget releases the memory of the record. Only the caller may call it, when it needs the
// ticket no longer.
func (t *Ticket) Forget() {
	if r := t.record; r != nil {
		t.Pool.gate.link(t, nil)
		*r = record{}
		records.Put(r)
	}
}

// newRecord returns an empty record.
func newRecord() *record { return records.Get().(*record) }

// link sets the record of a ticket, which operators read.
func (g *gate) link(t *Ticket, r *record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.record = r
}

// rejectNewcomer rejects a caller that has not waited, which may have no ticket.
func (p *Pool) rejectNewcomer(t *Ticket, r Reason) error {
	if t != nil {
		t.Forget()
		p.gate.noteNewcomer(t, r, p.now())
		p.noteBreaker(t.record)
	}
	return p.rejectFor(t, r)
}

// rejectWaiter rejects a caller that has waited. Its ticket may be nil.
func (p *Pool) rejectWaiter(t *Ticket, r Reason) error {
	if t != nil {
		t.record.Reason = r
		p.noteBreaker(t.record)
	}
	return p.rejectFor(t, r)
}

// noteBreaker records the state of the breaker. If the breaker has rejected the caller and
// has closed since, the recorded state is open: that explains the rejection.
func (p *Pool) noteBreaker(n *record) {
	n.Breaker, n.BreakerForced = p.breakerState()
	n.ProbesIn = p.probesIn()
	if n.Reason == BreakerOpen && n.Breaker != StateOpen && n.Breaker != StateHalfOpen {
		n.Breaker = StateOpen
	}
}

// noteNewcomer records the rejection of a caller that has not joined the queue. For the
// reason QueueFull it records a full queue, although there may be room again by now.
func (g *gate) noteNewcomer(t *Ticket, r Reason, now moment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := newRecord()
	t.record = n
	g.note(n, now)
	n.Reason = r
	g.noteClaim(n, t)
	g.rejectedShared(t)
	n.Before = g.queue.len
	switch {
	case r == KeyQueueFull:
		n.KeyWaiting = g.shares.queue.Waiting(n.Claim.Key)
		n.Before = UnknownPlace
		return
	case r == QueueFull:
		n.Waiting, n.Before = max(n.Waiting, g.queueLimit), max(n.Before, g.queueLimit)
		n.NewestFirst = false // else it had taken a place
		if !n.Paused && !n.Held && g.loan == nil {
			n.Running = max(n.Running, n.Limit)
		}
	case n.NewestFirst:
		n.Before = g.queue.before()
	}
	n.Rest = g.predict(n.Before)
}

// The methods below require g.mu.

// note records the numbers of this moment.
func (g *gate) note(n *record, now moment) {
	n.Waiting, n.QueueLimit, n.MaxWait = g.queue.all(), g.queueLimit, g.maxWait
	n.Order, n.NewestFirst = OrderAuto, !g.healthy()
	if g.fifo {
		n.Order = OrderFIFO
	}
	n.Run = time.Duration(g.predictedRun())
	n.Running, n.Limit, n.Lent = g.running-g.lent, g.ownLimit(), g.lent
	n.Concurrency, n.WarmingUp = boundedOrZero(g.concurrency), 0
	if g.warmsUp() {
		n.WarmingUp = g.limit
	}
	n.Paused, n.Held, n.BusyFor = g.paused(), g.holdsBack(), time.Duration(g.age(now))
	n.Capped, n.CappedLimit = g.capped, g.cappedLimit()
}

// noteJoin records the state of the queue for a caller that is about to join it.
func (g *gate) noteJoin(w *waiter, now moment) {
	t := w.ticket
	if t == nil || t.record == nil {
		return
	}
	n := t.record
	g.note(n, now)
	g.noteClaim(n, t)
	n.Joined, n.Ahead = true, g.queue.back.Len()
	if !w.back {
		n.Ahead = g.ahead(w.kept)
	}
	n.Predicted = g.predict(n.Ahead)
	if g.shares != nil {
		n.Ahead, n.Predicted = g.aheadShared(t, w.comesFirst())
	}
	n.Before, n.Rest = n.Ahead, n.Predicted
}

// noteEnd records the end of a wait without a permit, while the waiter is still queued.
func (g *gate) noteEnd(w *waiter, r Reason, now moment) {
	t := w.ticket
	if t == nil || t.record == nil {
		return
	}
	n := t.record
	g.note(n, now)
	g.noteClaim(n, t)
	n.Reason, n.Waited, n.Before, n.Rest = r, now.since(w.arrived), g.before(w, now), 0
	switch {
	case t.Preflight: // it did not wait for a permit
	case r == PredictedLate: // by the numbers of late
		n.Run, n.Rest, n.Before = time.Duration(g.leastRun()), time.Duration(g.rest()), g.queue.len-1
	case n.Before != UnknownPlace:
		n.Rest = g.predict(n.Before)
	}
}

// before returns how many waiters are to be served before w. It does not search the queue,
// and returns UnknownPlace for a waiter in the middle.
func (g *gate) before(w *waiter, now moment) int {
	if w.seat != nil {
		if g.pickShared(now) == w {
			return 0
		}
		return UnknownPlace
	}
	q, l := &g.queue, &g.queue.line
	oldestNext := g.healthy() || (l.Len() > 0 && g.rescues(now))
	switch w {
	case q.first(), q.preflights.front():
		return 0
	case l.front():
		if oldestNext {
			return q.before()
		}
		return q.len - 1
	case l.back():
		if g.healthy() {
			return q.len - 1
		}
		if !oldestNext {
			return q.before()
		}
	}
	return UnknownPlace
}
