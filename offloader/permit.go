package offloader

import "time"

// Permit is the right to one run. It is a value that may be copied: only the first
// Release of any copy takes effect; later ones do nothing, even after the slot was
// reused. The zero Permit is released.
type Permit struct {
	pool       *Pool
	slot       *slot
	generation uint64
}

// Release ends the run and reports its outcome to the breaker, unless one was reported
// before.
func (p Permit) Release(o Outcome) { p.end(o, false) }

// ReleaseCancelled is Release for a cancelled run. The pool keeps the permit for
// Settings.Linger, because the backend may still work.
func (p Permit) ReleaseCancelled(o Outcome) {
	p.end(o, true)
}

// Unanswered notes before the end of a run that the backend has not answered it: it could not
// be reached, or its connection has ended.
func (p Permit) Unanswered() {
	if p.pool != nil {
		p.pool.gate.unanswered(p.slot, p.generation)
	}
}

// RetryAfter notes before the end of a run that the backend has asked for that much time. If
// this run trips the breaker, the cool-down is at least as long, up to [MaxRetryAfter].
func (p Permit) RetryAfter(d time.Duration) {
	if p.pool == nil || d <= 0 {
		return
	}
	if b := p.slot.reporter.breaker(); b != nil {
		b.askedFor(d, p.pool.now())
	}
}

// Detach releases the permit of a run that goes on outside of the pool, such as a
// tunnel, and reports success. The pool counts the run as detached until
// [Pool.EndDetached].
func (p Permit) Detach() {
	if p.pool != nil {
		p.pool.detached.Add(1)
		p.Untimed()
		p.Release(Success)
	}
}

// EndDetached ends one run that [Permit.Detach] has counted.
func (p *Pool) EndDetached() { p.detached.Add(-1) }

func (p Permit) end(o Outcome, cancelled bool) {
	if p.pool == nil {
		return
	}
	pool, s := p.pool, p.slot
	o, reported, ok := s.release(p.generation, o)
	if !ok {
		return
	}
	now := pool.now()
	// The breaker first: if this outcome trips it, no waiter may be admitted after it.
	if !reported {
		pool.gate.completes(s)
		s.reporter.ended(o, false, now)
	}
	s.cancelled = cancelled
	run := time.Duration(now - s.started)
	linger := time.Duration(0)
	if cancelled && !s.preflight {
		linger = pool.Settings().Linger
	}
	if linger == 0 {
		out, due := pool.gate.release(s, run, o, now)
		pool.handOn(out, due, now)
		return
	}
	out, due := pool.gate.linger(s, run, o, now)
	pool.handOn(out, due, now)
	if !pool.lingers.add(s, linger) {
		pool.endLinger(s)
	}
}

// handOn wakes the waiters that a release has served or rejected, and sets the alarm for
// the next timeout in the queue.
func (p *Pool) handOn(out verdicts, due, now moment) {
	out.wake()
	p.alarm.set(due, now)
}

func (p *Pool) endLinger(s *slot) { p.gate.endLinger(s, p.now()).wake() }
