package upstream

import "slices"

// Room reports whether an upstream of the set has so many permits free.
func (s *Set) Room(n int) bool {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.pick(n, nil) != nil
}

// Take takes so many permits at the upstream with the least load, nil if none has room.
func (s *Set) Take(n int) *Member {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	m := s.pick(n, nil)
	if m != nil {
		s.take(m, n)
	}
	return m
}

// Free gives permits back: to seekers, or to all sets. lost means that the upstream has not
// answered the run. It returns the functions of other sets to call, without locks, since they
// may have waiters.
func (m *Member) Free(n int, lost bool) (changed []func()) {
	t := m.set.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if lost {
		t.pause(m.host)
	} else {
		m.host.rest.end()
	}
	m.set.free(m, n)
	t.serve()
	return m.others()
}

// Sum is the number of permits of the available upstreams: those of one if none is known.
func (s *Set) Sum() (n int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for _, m := range s.usable() {
		if m.usable() {
			n += m.limit
		}
	}
	return n
}

// Own is the number of permits that the runs of the set hold, at all upstreams.
func (s *Set) Own() (n int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	n = s.unknown.own
	for _, m := range s.members {
		n += m.own
	}
	return n
}

// Bound lets an upstream have so many runs of the set until the next call, without a bound
// if it is negative.
func (s *Set) Bound(name string, n int) {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := s.find(name); m != nil {
		m.bounded, m.bound = n >= 0, n
		t.serve()
	}
}

// Count is the state of one upstream of a set.
type Count struct {
	State
	Limit   int
	Running int // permits in use, by runs of all sets
}

// Counts returns the listed upstreams in the order of the report.
func (s *Set) Counts() []Count {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	counts := make([]Count, 0, len(s.members))
	for _, m := range s.members {
		if m.listed {
			counts = append(counts, Count{State{m.host.name, m.available, m.weight}, m.limit, m.host.running})
		}
	}
	return counts
}

// The functions below require the table's lock.

// usable are the members that a run may go to.
func (s *Set) usable() []*Member {
	if len(s.members) == 0 {
		return []*Member{s.unknown}
	}
	return s.members
}

// pick returns the available member with the least load among those that a run accepts, nil
// if none has room. Of two with the same load it takes the one that waited longer.
func (s *Set) pick(n int, accepts func(name string) bool) (best *Member) {
	most := s.largest()
	for _, m := range s.usable() {
		switch {
		case !m.usable() || !m.fits(n, most) || (accepts != nil && !accepts(m.host.name)):
		case best == nil, m.load(n) < best.load(n), m.load(n) == best.load(n) && m.last < best.last:
			best = m
		}
	}
	return best
}

// largest is the number of permits of the largest upstream that is available.
func (s *Set) largest() (n int) {
	for _, m := range s.usable() {
		if m.usable() {
			n = max(n, m.limit)
		}
	}
	return n
}

func (s *Set) take(m *Member, n int) {
	s.table.clock++
	m.host.running += n
	m.own += n
	m.last = s.table.clock
}

func (s *Set) free(m *Member, n int) {
	m.host.running -= n
	m.own -= n
	if !m.listed && m.own == 0 {
		s.members = slices.DeleteFunc(s.members, s.forget)
	}
}

// others are the functions of other sets that share the member's upstream.
func (m *Member) others() (changed []func()) {
	for _, of := range m.host.sets {
		if of != m.set {
			changed = append(changed, of.changed)
		}
	}
	return changed
}
