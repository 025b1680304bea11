package offloader

import (
	"sync"
	"time"
)

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

// Upgrade releases the permit of a run that goes on as something else, such as
// a tunnel, which counts as a success. It is counted until Pool.EndUpgrade.
func (p Permit) Upgrade() {
	if p.pool != nil {
		p.pool.upgraded.Add(1)
		p.Untimed()
		p.Release(Success)
	}
}

// EndUpgrade says that what Permit.Upgrade counted has ended.
func (p *Pool) EndUpgrade() { p.upgraded.Add(-1) }

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
		out, due := pool.gate.leave(s, run, o, now)
		pool.handOn(out, due, now)
		return
	}
	out, due := pool.gate.linger(s, run, o, now)
	pool.handOn(out, due, now)
	if !pool.lingers.add(s, linger, pool.endLinger) {
		pool.endLinger(s)
	}
}

// handOn tells the waiters whom a release concerns, and when to look again.
func (p *Pool) handOn(out verdicts, due, now moment) {
	out.tell()
	p.alarm.set(due, now)
}

func (p *Pool) endLinger(s *slot) { p.gate.lingered(s, p.now()).tell() }

// lingers holds the timers of permits that are kept after their run.
type lingers struct {
	mu     sync.Mutex
	timers map[*slot]*time.Timer
	closed bool
}

// add keeps s for d and then calls end. It reports false if the pool is closed
// and nothing is kept any more.
func (l *lingers) add(s *slot, d time.Duration, end func(*slot)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.timers == nil {
		l.timers = make(map[*slot]*time.Timer)
	}
	l.timers[s] = time.AfterFunc(d, func() {
		if l.remove(s) {
			end(s)
		}
	})
	return true
}

func (l *lingers) remove(s *slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.timers[s]
	delete(l.timers, s)
	return ok
}

// close ends the lingering of all.
func (l *lingers) close(end func(*slot)) {
	l.mu.Lock()
	timers := l.timers
	l.timers, l.closed = nil, true
	l.mu.Unlock()
	for s, timer := range timers {
		timer.Stop()
		end(s)
	}
}
