package offloader

import "slices"

// Succession ties a pool to its successor in front of the same backend: the elder pool
// finishes its calls, and the backend must not see the limits of both at once.
//
// Each run of the elder pool holds a permit of the successor, whose own limit is lower
// by that much, down to zero: as if all were in one pool, with the older calls first.
// Waiters of the elder pool take over the permits of its runs that end. If the elder
// pool needs more it asks for one, and gets it before the successor's own waiters. It
// gives back a permit that it does not need at once.
type Succession struct{ loan *loan }

// loan is the elder pool's part of its successor's permits. The elder's gate is locked
// before the successor's.
type loan struct {
	elder, heir *Pool

	kept int // permits of the loan; guarded by the elder's gate's mutex

	// Guarded by the heir's gate's mutex.
	binding bool
	asks    bool // the elder pool waits for one more permit
}

// Succeed makes the pool the successor of elder. Until Bind only the successor's limit
// is lowered, and the elder pool is served as before. Succeed returns nil if elder has
// a successor, or if the pool itself is followed by elder.
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

// Bind keeps the elder pool within the successor's limit.
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

// Forget drops the successor's reference to an elder pool with nothing in flight. A
// late call in the elder pool still keeps within the successor's limit.
func (s *Succession) Forget() {
	heir := s.loan.heir
	heir.mu.Lock()
	defer heir.mu.Unlock()
	heir.elders = slices.DeleteFunc(heir.elders, func(p *Pool) bool { return p == s.loan.elder })
}

// predecessors returns the pools that this one has succeeded.
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

func (p *Pool) receive(l *loan) { p.gate.received(l, p.now()).wake() }

func (p *Pool) repaid(n int) {
	now := p.now()
	p.gate.repaid(n, now).wake()
	p.alarm.set(p.gate.nextDue(), now)
}

// transfer moves permits between two gates: to the elder pool, or back. It is made
// under the mutex of one gate and carried out without it.
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
