package offloader

import (
	"math"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/list"
	"github.com/caddy-offload/caddy-offload/offloader/internal/fair"
)

// moment is a point in time, in nanoseconds since the pool's epoch: monotonic, cheap to
// read and small.
type moment int64

// since returns the time from then to m. It is zero if then is later, which happens for a
// waiter that joined the queue after the clock was read.
func (m moment) since(then moment) time.Duration { return time.Duration(max(m-then, 0)) }

// clock reads the moments of one pool.
type clock struct{ epoch time.Time }

func (c clock) now() moment { return moment(time.Since(c.epoch)) }

// waiter is one caller in the queue. The gate's mutex guards its links, and all other
// fields until the caller is woken with a permit or a rejection.
type waiter struct {
	element    list.Element[*waiter] // in a line
	next       *waiter               // in verdicts
	arrived    moment
	deadline   moment     // the caller's own, zero if none
	queued     bool       // linked into the queue; the code that unlinks it owns it
	breaksCalm bool       // the first waiter for a while; its caller may read it
	kept       bool       // it came at its turn and is served before the line
	back       bool       // it had a permit before and is served first
	ticket     *Ticket    // of the caller, nil without one
	seat       *fair.Seat // with the gate's shares, nil without them

	// The caller is woken with a permit in slot, or with the reason of its rejection.
	slot   *slot
	reason Reason
	wake   chan struct{}
}

// comesFirst reports whether the waiter is served before those that have no turn.
func (w *waiter) comesFirst() bool { return w.back || w.kept || w.ticket.patient() }

// note lets an operator find the waiter by its ticket, or no longer.
func (w *waiter) note(as *waiter) {
	if w.ticket != nil && w.ticket.record != nil {
		w.ticket.record.waiter = as
	}
}

// waiterPool recycles waiters with their channels, so that waiting allocates nothing.
// Each [Pool] has its own, since channels that were made in a bubble of
// testing/synctest cannot be used outside of it.
type waiterPool struct{ kept sync.Pool }

func (p *waiterPool) get(arrived, deadline moment, n *newcomer) *waiter {
	w, ok := p.kept.Get().(*waiter)
	if !ok {
		w = &waiter{wake: make(chan struct{}, 1)}
	}
	w.arrived, w.deadline, w.ticket, w.back = arrived, deadline, n.ticket, n.back
	return w
}

// put takes back a waiter after its verdict was received or after it left the queue. In
// both cases its channel is empty.
func (p *waiterPool) put(w *waiter) {
	w.slot, w.reason, w.ticket, w.kept, w.back = nil, 0, nil, false, false
	p.kept.Put(w)
}

// line is a list of waiters in order of arrival.
type line struct{ list.List[*waiter] }

// front is the oldest waiter, nil without one.
func (l *line) front() *waiter {
	if e := l.Front(); e != nil {
		return e.Value
	}
	return nil
}

// back is the newest waiter, nil without one.
func (l *line) back() *waiter {
	if e := l.Back(); e != nil {
		return e.Value
	}
	return nil
}

// queue holds the waiters: first the callers whose runs could not be done, then those that
// came back at their turn, then all others. Preflights are apart, since they wait for no
// permit, and so are patient callers, since they take no place.
type queue struct {
	len              int // of back, kept and line
	back, kept, line line
	preflights       line
	patient          line
}

// all is the number of places that are taken.
func (q *queue) all() int { return q.len + q.preflights.Len() }

// wanted reports whether a waiter wants permits.
func (q *queue) wanted() bool { return q.len > 0 || q.patient.Len() > 0 }

func (q *queue) push(w *waiter) {
	w.queued = true
	w.note(w)
	w.element.Value = w
	q.lineOf(w).Push(&w.element)
	if !w.ticket.apart() {
		q.len++
	}
}

func (q *queue) remove(w *waiter) {
	q.lineOf(w).Remove(&w.element)
	w.queued = false
	w.note(nil)
	if !w.ticket.apart() {
		q.len--
	}
}

func (q *queue) lineOf(w *waiter) *line {
	switch {
	case w.ticket.preflight():
		return &q.preflights
	case w.ticket.patient():
		return &q.patient
	case w.back:
		return &q.back
	case w.kept:
		return &q.kept
	}
	return &q.line
}

// lines are all lines but that of patient callers, in the order in which their waiters are rejected together.
func (q *queue) lines() [4]*line { return [...]*line{&q.back, &q.kept, &q.line, &q.preflights} }

// before is the number of waiters before those that have no turn.
func (q *queue) before() int { return q.back.Len() + q.kept.Len() }

// first is the first waiter that is served before those that have no turn, nil without one.
func (q *queue) first() *waiter {
	if w := q.back.front(); w != nil {
		return w
	}
	return q.kept.front()
}

// forPermits are the waiters for permits, each line in order of arrival.
func (q *queue) forPermits() []*waiter {
	all := make([]*waiter, 0, q.len+q.patient.Len())
	for _, l := range [...]*line{&q.back, &q.kept, &q.line, &q.patient} {
		for e := l.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value)
		}
	}
	return all
}

// oldest returns when the first waiter joined the queue, which must not be empty.
func (q *queue) oldest() moment {
	first := moment(math.MaxInt64)
	for _, l := range q.lines() {
		if w := l.front(); w != nil {
			first = min(first, w.arrived)
		}
	}
	return first
}

// verdicts collects, under the gate's mutex, the waiters that get a permit or a rejection,
// and transfers of permits to other gates. After the mutex is released, wake wakes the
// waiters in this order and carries the transfers out.
type verdicts struct {
	first, last *waiter
	transfers   *transfer
	changed     []func() // of other pools, which may have permits for their waiters
}

// send adds a transfer. Their order does not matter.
func (v *verdicts) send(t transfer) {
	t.next = v.transfers
	v.transfers = &t
}

func (v *verdicts) add(w *waiter) {
	if v.last == nil {
		v.first = w
	} else {
		v.last.next = w
	}
	v.last = w
}

// wake wakes the waiters. From then on they belong to their callers.
func (v verdicts) wake() {
	for w := v.first; w != nil; {
		next := w.next
		w.next = nil
		w.wake <- struct{}{}
		w = next
	}
	if v.transfers != nil {
		v.transfers.carryOut()
	}
	for _, changed := range v.changed {
		changed()
	}
}
