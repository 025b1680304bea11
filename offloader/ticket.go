package offloader

import (
	"context"
	"errors"
	"time"
)

// ErrNotNow is returned by [Ticket.AcquireNow] if no permit is free.
var ErrNotNow = errors.New("no permit is free now")

// Ticket is the way into a pool for callers that need more than [Pool.Acquire]: to be
// announced, to be listed and cancelled while they wait, to read the pool's decision, or to
// be recognized when they come back. Fill in its exported fields, and do not change them
// until Acquire has returned. A ticket serves one caller at a time, costs an admission no
// allocation, and must not be copied after its first use.
type Ticket struct {
	// Pool that the caller acquires from. It must be set.
	Pool *Pool

	// Caller that uses the ticket. It may be nil.
	Caller Caller

	// Claim of the caller: its key, class and cost. Nil is the zero Claim. Pools that need
	// no claims do not read it.
	Claim *Claim

	// PassDrain admits the caller although the pool drains, because it belongs to a
	// call that was admitted before.
	PassDrain bool

	// CappedBy marks a caller that may hold its permit for as long as it likes, such as one
	// that sends its input while it runs. Such callers hold at most half of the permits,
	// one at least, until [Permit.Uncap]; beyond that they are rejected with this reason.
	// Zero: the caller is not capped.
	CappedBy Reason

	// Preflight marks a caller that only asks whether another call may be made, such as a
	// browser that asks whether it may send a request. It takes no permit: at most as many
	// preflights run at once as there are permits, and the next ones wait before all other
	// callers. They use no turns, and their runs do not count for predictions.
	Preflight bool

	// Returning marks a caller that had a permit, whose run could not be done, and which
	// waits again: before all other callers, although the queue is full or the pool drains.
	// With keys or classes it waits before the others of its key and class.
	Returning bool

	// Patient marks a caller that no client waits for, such as a stored job. It waits as
	// long as it takes: without Settings.MaxWait, and without a place in the queue. It is
	// never displaced, nor rejected as late. A pool that drains rejects it, also while it
	// waits, since another pool may serve it sooner. Its rejections are not counted and get
	// no turn: it is expected to come again. Within its class and key it is served before
	// others, so it should have a class.
	Patient bool

	// Written by the caller's own goroutine under the gate's mutex.
	kept      bool // it came at its turn
	held      bool // the breaker has rejected its run
	announced bool // the pool counts it; the caller may read it without the mutex

	// record describes the last decision, nil if the caller got a permit at once. The
	// caller writes the pointer under the gate's mutex and may read it without.
	record *record
}

// Acquire is [Pool.Acquire] for the caller of the ticket.
func (t *Ticket) Acquire(ctx context.Context) (Permit, error) {
	permit, err := t.Pool.acquire(ctx, t)
	if err != nil {
		t.Withdraw()
	}
	return permit, err
}

// AcquireNow is Acquire without a wait, for a caller that does other work before it waits:
// where Acquire would wait or reject, AcquireNow returns ErrNotNow and counts nothing. The
// caller is expected to call Acquire later.
func (t *Ticket) AcquireNow() (Permit, error) {
	p := t.Pool
	if p.breakerRejects() {
		return Permit{}, ErrNotNow
	}
	t.Forget()
	n := newcomer{ticket: t}
	p.recognize(&n)
	s := p.gate.enterNow(&n)
	if s == nil {
		return Permit{}, ErrNotNow
	}
	permit, err := p.begin(s, t, p.now())
	if errors.Is(err, errHeld) {
		return Permit{}, ErrNotNow
	}
	return permit, err
}

// Cancel rejects the caller with the reason Cancelled if it waits in the queue, and
// reports whether it did. It may be called from any goroutine.
func (t *Ticket) Cancel() bool {
	out, ok := t.Pool.gate.cancel(t, t.Pool.now())
	out.wake()
	return ok
}

// NextRetry is [RejectedError.NextRetry] for the caller of the ticket, after a rejection
// with reason r. The pool keeps the returned time as the turn of the caller's client, until
// a minute after Retry.Seconds. A client that comes back at its turn or later waits before
// all callers without a turn, and displaces one of them if the queue is full. A client that
// comes back earlier gets the time of the same turn again, and has to keep to it.
func (t *Ticket) NextRetry(r Reason) Retry {
	retry := t.Pool.nextRetry(r, t)
	if t.record != nil {
		t.record.Retry = retry.whole()
	}
	return retry
}

// Held returns advice r less d, for a caller that gets its answer d after the rejection.
func (t *Ticket) Held(r Retry, d time.Duration) Retry {
	rest := retryWith(r.Turn-d, wholeSeconds(r.Turn-d))
	if t.record != nil {
		t.record.Retry = rest.whole()
	}
	return rest
}

// Joined reports whether the caller joined the queue. Only the caller may call it, after
// Acquire.
func (t *Ticket) Joined() bool { return t.record != nil && t.record.Joined }

// Ahead returns the number of waiters that were to be served before the caller when it
// joined the queue, zero if it did not join. Only the caller may call it, after Acquire.
func (t *Ticket) Ahead() int {
	if !t.Joined() {
		return 0
	}
	return t.record.Ahead
}

// PredictedWait returns the wait that was predicted when the caller joined the queue, by
// Snapshot.TypicalRun. It is zero if the caller did not join, or if no run had ended
// before. Only the caller may call it, after Acquire.
func (t *Ticket) PredictedWait() time.Duration {
	if !t.Joined() {
		return 0
	}
	return t.record.Predicted
}

func (g *gate) cancel(t *Ticket, now moment) (verdicts, bool) {
	g.mu.Lock()
	defer g.unlock()
	var out verdicts
	if t.record == nil || t.record.waiter == nil {
		return out, false
	}
	g.reject(t.record.waiter, Cancelled, now, &out)
	g.makeRoom(now, &out)
	g.wakeIfIdle()
	return out, true
}

// enterNow takes a permit for a newcomer if one is free at once, else it returns nil.
func (g *gate) enterNow(n *newcomer) *slot {
	g.mu.Lock()
	defer g.unlock()
	if n.ticket.shares() {
		g.share()
	}
	if a, _ := g.admission(n.ticket, g.arrives(&n.client, n.came)); a == admit {
		return g.letIn(n, n.came)
	}
	g.turns.count(&n.client, -1) // it will come again
	return nil
}
