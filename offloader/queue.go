package offloader

import (
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

// moment is a point in time, in nanoseconds since the pool's epoch: monotonic, cheap to
// read and small.
type moment int64

// since is the time from an earlier moment. It is zero for one that is later, of a waiter
// that joined the queue after the clock was read.
func (m moment) since(then moment) time.Duration { return time.Duration(max(m-then, 0)) }

// waiter is one caller in the queue. The gate's mutex guards its links, and all of its
// fields until a verdict has been sent.
type waiter struct {
	element    list.Element[*waiter] // in a line
	next       *waiter               // in verdicts
	arrived    moment
	deadline   moment  // the caller's own, zero if none
	queued     bool    // linked into the queue; the code that unlinks it owns it
	breaksCalm bool    // the first waiter for a while; its caller may read it
	kept       bool    // it came at its turn and is served before the line
	ticket     *Ticket // of the caller, nil without one

	// slot or reason is the verdict; wake is sent when it is there.
	slot   *slot
	reason Reason
	wake   chan struct{}
}

// waiterPool recycles waiters with their channels, so that waiting allocates nothing.
// Each [Pool] has its own, since channels that were made in a bubble of
// testing/synctest cannot be used outside of it.
type waiterPool struct{ kept sync.Pool }

func (p *waiterPool) get(arrived, deadline moment, t *Ticket) *waiter {
	w, ok := p.kept.Get().(*waiter)
	if !ok {
		w = &waiter{wake: make(chan struct{}, 1)}
	}
	w.arrived, w.deadline, w.ticket = arrived, deadline, t
	return w
}

// put takes back a waiter after its verdict was received or after it left the queue. In
// both cases its channel is empty.
func (p *waiterPool) put(w *waiter) {
	w.slot, w.reason, w.ticket, w.kept = nil, 0, nil, false
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

// queue holds the waiters: first the callers that came back at their turn, then all
// others.
type queue struct {
	kept, line line
	len        int
}

func (q *queue) push(w *waiter) {
	w.queued = true
	if w.ticket != nil {
		w.ticket.waiter = w
	}
	w.element.Value = w
	q.lineOf(w).Push(&w.element)
	q.len++
}

func (q *queue) remove(w *waiter) {
	q.lineOf(w).Remove(&w.element)
	w.queued = false
	if w.ticket != nil {
		w.ticket.waiter = nil
	}
	q.len--
}

func (q *queue) lineOf(w *waiter) *line {
	if w.kept {
		return &q.kept
	}
	return &q.line
}

// oldest is when the longest waiter joined. The queue must not be empty.
func (q *queue) oldest() moment {
	k, l := q.kept.front(), q.line.front()
	switch {
	case k == nil:
		return l.arrived
	case l == nil:
		return k.arrived
	}
	return min(k.arrived, l.arrived)
}

// verdicts are waiters that have left the queue and are to be woken, in that order, and
// transfers of permits to other gates. They are collected under the gate's mutex and
// sent after it.
type verdicts struct {
	first, last *waiter
	transfers   *transfer
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
}
