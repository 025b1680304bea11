package offloader

import "slices"

// Succession ties a pool (the elder) to the pool that replaces it in front of the same
// backend (the successor, or heir). The elder pool finishes its calls, and both together
// must not exceed the successor's limit.
//
// Each run of the elder pool borrows a permit of the successor, whose own limit is lower by
// that much, down to zero: as if all were in one pool, with the older calls first. When a
// run of the elder pool ends, its next waiter takes over the permit. If that waiter needs
// more permits, the elder pool asks the successor, which lends them all together, before it
// serves its own waiters. The elder pool gives back permits that it does not need.
type Succession struct{ loan *loan }

// loan counts the permits of the successor (heir) that the elder pool has borrowed. The
// elder's gate is locked before the heir's.
type loan struct {
	elder, heir *Pool

	kept int // permits of the loan; guarded by the elder's gate's mutex

	// Guarded by the heir's gate's mutex.
	binding bool
	wants   int // permits that the elder pool waits for
}

// Succeed makes the pool the successor of elder. Until Bind, elder takes permits as before,
// and only the successor gets fewer. Succeed returns nil if elder has a successor already,
// or is a successor of this pool.
func (p *Pool) Succeed(elder *Pool) *Succession {
	for pool := p; pool != nil; pool = pool.gate.successor() {
		if pool == elder {
			return nil
		}
	}
	l := &loan{elder: elder, heir: p}
	if !elder.gate.borrowFrom(l) {
		return nil
	}
	p.mu.Lock()
	p.elders = append(p.elders, elder)
	p.mu.Unlock()
	return &Succession{l}
}

// Bind lets the elder pool begin a run only with a permit that the successor can lend.
func (s *Succession) Bind() {
	heir := &s.loan.heir.gate
	heir.mu.Lock()
	defer heir.mu.Unlock()
	s.loan.binding = true
}

// Undo separates the pools.
func (s *Succession) Undo() {
	s.Forget()
	elder := s.loan.elder
	elder.gate.payBack(s.loan, elder.now()).wake()
}

// Forget removes an elder pool with nothing in flight from the successor's predecessors. A
// late call in the elder pool still needs a permit of the successor.
func (s *Succession) Forget() {
	heir := s.loan.heir
	heir.mu.Lock()
	defer heir.mu.Unlock()
	heir.elders = slices.DeleteFunc(heir.elders, func(p *Pool) bool { return p == s.loan.elder })
}

// predecessors returns the pools that this one has replaced.
func (p *Pool) predecessors() []*Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.elders)
}

// inFlightBefore counts the calls in flight in all predecessors and their predecessors.
func (p *Pool) inFlightBefore() int {
	n := 0
	for _, elder := range p.predecessors() {
		n += elder.gate.inFlightNow() + elder.inFlightBefore()
	}
	return n
}

func (p *Pool) receive(l *loan, n int) { p.gate.received(l, n, p.now()).wake() }

func (p *Pool) repaid(n int) {
	now := p.now()
	p.gate.repaid(n, now).wake()
	p.alarm.set(p.gate.nextDue(), now)
}

// transfer moves permits between two gates: granted ones to the elder pool, or borrowed
// ones back. It is created under the mutex of one gate and carried out without it.
type transfer struct {
	next    *transfer
	loan    *loan
	granted int
	back    int
}

func (t *transfer) carryOut() {
	for ; t != nil; t = t.next {
		if t.granted > 0 {
			t.loan.elder.receive(t.loan, t.granted)
			continue
		}
		t.loan.heir.repaid(t.back)
	}
}
