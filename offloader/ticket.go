package offloader

import (
	"context"
	"errors"
	"time"
)

// ErrNotNow is returned by [Ticket.AcquireNow] if no permit is free.
var ErrNotNow = errors.New("no permit is free at once")

// Ticket is the way into a pool for callers that need more than [Pool.Acquire]: to be
// listed and cancelled while they wait, to learn what they found, to be announced, or
// to be recognized when they come back. Fill in its exported fields and leave them
// alone until its Acquire has returned. A ticket serves one caller at a time, costs an
// admission no allocation, and must not be copied after its first use.
type Ticket struct {
	// Pool that the caller acquires from. It must be set.
	Pool *Pool

	// Caller that uses the ticket. It may be nil.
	Caller Caller

	// PassDrain admits the caller although the pool drains, because it belongs to a
	// call that was admitted before.
	PassDrain bool

	// CappedBy marks a caller that may hold its permit for as long as it likes, such
	// as one that sends its input while it runs. Such callers hold at most half of the
	// permits, one at least, until [Permit.Uncap]; beyond that they are rejected with
	// this reason. Zero: no such caller.
	CappedBy Reason

	// Written by the caller's own goroutine under the gate's mutex.
	joined    bool
	kept      bool // it came at its turn
	ahead     int32
	predicted time.Duration
	announced bool // the pool counts it; the caller may read it without the mutex

	waiter *waiter // guarded by the gate's mutex, nil while the caller does not wait
}

// Acquire is [Pool.Acquire] for the caller of the ticket.
func (t *Ticket) Acquire(ctx context.Context) (Permit, error) {
	permit, err := t.Pool.acquire(ctx, t)
	if err != nil {
		t.Withdraw()
	}
	return permit, err
}

// AcquireNow is Acquire for a caller that can use the time until it gets a permit: it
// returns ErrNotNow, and counts nothing, where Acquire would wait or reject. The caller
// is expected to call Acquire later.
func (t *Ticket) AcquireNow() (Permit, error) {
	p := t.Pool
	if p.breakerRejects() {
		return Permit{}, ErrNotNow
	}
	n := newcomer{ticket: t}
	p.recognize(&n)
	s := p.gate.enterNow(&n)
	if s == nil {
		return Permit{}, ErrNotNow
	}
	return p.begin(s, p.now())
}

// Cancel rejects the caller with the reason Cancelled if it waits in the queue, and
// reports whether it did. It may be called from any goroutine.
func (t *Ticket) Cancel() bool {
	out, ok := t.Pool.gate.cancel(t)
	out.wake()
	return ok
}

// NextRetry is [RejectedError.NextRetry] for the caller of the ticket after a rejection
// for that reason. The pool keeps the turn of its client for a minute: when the client
// comes back at the announced time or later, it waits before all callers without a
// turn, and displaces one of them if the queue is full. A client that comes back
// earlier gets the time of the same turn again, and has to keep to it.
func (t *Ticket) NextRetry(r Reason) time.Duration { return t.Pool.nextRetry(r, t) }

// Joined reports whether the caller joined the queue. Only the caller may ask, after
// Acquire.
func (t *Ticket) Joined() bool { return t.joined }

// Ahead returns the number of waiters that were to be served before the caller when it
// joined the queue, zero if it did not. Only the caller may ask, after Acquire.
func (t *Ticket) Ahead() int { return int(t.ahead) }

// PredictedWait returns the wait that was predicted when the caller joined the queue,
// by Snapshot.MeanRun. It is zero if the caller did not join, or if no run had ended
// before. Only the caller may ask, after Acquire.
func (t *Ticket) PredictedWait() time.Duration { return t.predicted }

func (g *gate) cancel(t *Ticket) (verdicts, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out verdicts
	if t.waiter == nil {
		return out, false
	}
	g.reject(t.waiter, Cancelled, &out)
	g.wakeIfIdle()
	return out, true
}

// enterNow takes a permit for a newcomer if one is free at once, else it returns nil.
func (g *gate) enterNow(n *newcomer) *slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a, _ := g.admission(n.ticket, g.arrives(&n.client, n.came)); a == admit {
		return g.letIn(n, n.came)
	}
	g.turns.count(&n.client, -1) // it will come again
	return nil
}
