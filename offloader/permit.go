package offloader

import "time"

// Permit is the right to one run. It is a value that may be copied: whichever
// copy is released first gives the permit back, any later release does nothing,
// also when the place has long been given to somebody else. The zero Permit is
// released already.
type Permit struct {
	pool       *Pool
	slot       *slot
	generation uint64
}

// Release ends the run and tells the breaker its outcome, unless that was reported
// before.
func (p Permit) Release(o Outcome) { p.end(o, false) }

// ReleaseCancelled is Release for a run that was cancelled. The pool keeps the
// permit for Settings.Linger more, since the backend may still be at work.
func (p Permit) ReleaseCancelled(o Outcome) {
	p.end(o, true)
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
	pool.ended[o].Add(1)
	// The breaker first: if this outcome trips it, nobody is let in after it.
	if !reported {
		s.hearing.tell(o, false)
	}
	s.cancelled = cancelled
	run := time.Duration(now - s.started)
	linger := time.Duration(0)
	if cancelled {
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

// handOn tells the waiters whom a release concerns, and when to look again.
func (p *Pool) handOn(out verdicts, due, now moment) {
	out.wake()
	p.alarm.set(due, now)
}

func (p *Pool) endLinger(s *slot) { p.gate.endLinger(s, p.now()).wake() }
