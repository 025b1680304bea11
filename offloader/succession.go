package offloader

import "slices"

// Succession ties a pool to the one that takes its place in front of the same
// backend: the elder one finishes what is in it, and the backend shall not see the
// limits of both at once.
//
// Each run of the elder pool holds a permit of its successor, whose limit is lower by
// that much, down to nothing: as if all were in one pool, the older requests first.
// What the elder pool still has to run takes over the permits of runs that end there.
// If it needs more it asks for one and gets it before the successor's own waiters. A
// permit that it does not need goes back at once.
type Succession struct{ loan *loan }

// loan is what an elder pool holds of its successor's permits. Its gate is locked
// before the successor's.
type loan struct {
	elder, heir *Pool

	kept int // permits that it holds; guarded by the elder's gate's mutex

	// Guarded by the heir's gate's mutex.
	binding bool
	asks    bool // it waits for one more
}

// Succeed makes the pool the successor of elder. At first only the successor's limit
// is lowered, and the elder pool is served as before, whatever that is: until Bind.
// It returns nil if elder has a successor already, or comes after this pool itself.
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

// Bind makes the elder pool keep within the successor's limit.
func (s *Succession) Bind() {
	heir := &s.loan.heir.gate
	heir.mu.Lock()
	defer heir.mu.Unlock()
	s.loan.binding = true
}

// Undo makes them two pools again.
func (s *Succession) Undo() {
	s.Forget()
	elder := s.loan.elder
	elder.gate.payBack(s.loan, elder.now()).wake()
}

// Forget is for an elder pool in which nothing is in flight: the successor keeps no
// reference to it. A late request in it still keeps within the successor's limit.
func (s *Succession) Forget() {
	heir := s.loan.heir
	heir.mu.Lock()
	defer heir.mu.Unlock()
	heir.elders = slices.DeleteFunc(heir.elders, func(p *Pool) bool { return p == s.loan.elder })
}

// predecessors are the pools that this one has succeeded.
func (p *Pool) predecessors() []*Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.elders)
}

// inFlightBefore is how much is in flight in pools that this one has succeeded, and
// in those before them.
func (p *Pool) inFlightBefore() int {
	n := 0
	for _, elder := range p.predecessors() {
		n += elder.gate.inFlightNow() + elder.inFlightBefore()
	}
	return n
}

func (p *Pool) receive(l *loan) { p.gate.received(l, p.now()).wake() }

func (p *Pool) repaid(n int) {
	now := p.now()
	p.gate.repaid(n, now).wake()
	p.alarm.set(p.gate.nextDue(), now)
}

// transfer is a permit, or some, on the way between two gates: to the elder pool, or
// back. It is made under the mutex of one and carried out when that is free.
type transfer struct {
	next    *transfer
	loan    *loan
	granted bool
	back    int
}

func (t *transfer) carryOut() {
	for ; t != nil; t = t.next {
		if t.granted {
			t.loan.elder.receive(t.loan)
			continue
		}
		t.loan.heir.repaid(t.back)
	}
}
