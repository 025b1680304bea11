// Package upstream counts the permits of upstreams: named backends of a pool that has
// several. An upstream is known by one name in all of a process, and has one count of
// permits, which all pools in front of it share.
//
// Each pool has a [Set] of the upstreams that it may use. A run takes its permits at one of
// them, and can move to another one. The package calls no other code under its lock.
package upstream

import (
	"slices"
	"sync"
)

// Table holds the upstreams of a process. All of its sets share its lock.
type Table struct {
	mu      sync.Mutex
	hosts   map[string]*host
	seekers []*Seeker // in order of arrival
	clock   uint64    // number of permits given out, to take turns
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{hosts: make(map[string]*host)} }

// host is one upstream, for all sets.
type host struct {
	name    string
	running int    // permits taken, by runs of all sets
	sets    []*Set // that may use it, or have runs there
	rest    rest
}

// Member is an upstream as a set sees it. The table's lock guards its fields.
type Member struct {
	set       *Set
	host      *host
	limit     int
	weight    int
	listed    bool // it was in the last report
	available bool
	bounded   bool // to bound permits, by its breaker
	bound     int
	own       int    // permits of the set's runs
	last      uint64 // the turn at which it was taken last
}

// Name returns the name of the upstream, empty for a run whose upstream is not known yet.
func (m *Member) Name() string { return m.host.name }

// fits reports whether so many permits are free, of which at most so many are needed: a run
// that takes more than any upstream has may run alone.
func (m *Member) fits(n, most int) bool {
	return m.host.running+min(n, most) <= m.limit && (n <= most || m.host.running == 0) &&
		(!m.bounded || m.own < m.bound) && m.host.rest.allows(m.host.running)
}

// usable reports whether new runs may go to the upstream.
func (m *Member) usable() bool {
	return m.available && (!m.bounded || m.bound > 0) && !m.host.rest.pausing
}

// load compares members: the share of its weight that would be in use.
func (m *Member) load(n int) float64 { return float64(m.host.running+n) / float64(max(m.weight, 1)) }

// Set is the upstreams of one pool.
type Set struct {
	table   *Table
	changed func() // permits may have come free without this set; called without locks
	limits  Limits
	members []*Member
	unknown *Member // stands for all upstreams until the first report
}

// Limits are the numbers of permits of upstreams.
type Limits struct {
	Each int            // of an upstream that is not in Of
	Of   map[string]int // by name
}

func (l *Limits) of(name string) int {
	if n, ok := l.Of[name]; ok {
		return n
	}
	return l.Each
}

// NewSet returns a set without upstreams. It calls changed, from any goroutine and without
// locks, when permits may have come free by another set or by a report.
func (t *Table) NewSet(l Limits, changed func()) *Set {
	s := &Set{table: t, changed: changed, limits: l}
	s.unknown = &Member{set: s, host: new(host), limit: l.Each, weight: 1, listed: true, available: true}
	return s
}

// Arrange sets other limits.
func (s *Set) Arrange(l Limits) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.limits, s.unknown.limit = l, l.Each
	for _, m := range s.members {
		m.limit = l.of(m.host.name)
	}
}

// State is what a pool reports of one of its upstreams.
type State struct {
	Name      string
	Available bool
	// Weight is the part of the runs that the upstream should get. Zero: its permits.
	Weight int
}

// Report replaces the list of upstreams. It reports whether that has changed anything, and
// serves seekers that wait for an upstream that is available now.
func (s *Set) Report(list []State) (changed bool) {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.is(list) {
		return false
	}
	for _, m := range s.members {
		m.listed = false
	}
	for _, state := range list {
		m := s.member(state.Name)
		if state.Available && !m.available { // a health check was answered
			m.host.rest = rest{}
		}
		m.listed, m.available, m.weight = true, state.Available, state.Weight
		if m.weight == 0 {
			m.weight = m.limit
		}
	}
	for _, m := range s.members {
		m.available = m.available && m.listed
	}
	s.members = slices.DeleteFunc(s.members, s.forget)
	t.serve()
	return true
}

// is reports whether the list is the last one.
func (s *Set) is(list []State) bool {
	n := 0
	for _, m := range s.members {
		if m.listed {
			n++
		}
	}
	if n != len(list) || n == 0 {
		return false
	}
	for _, state := range list {
		m := s.find(state.Name)
		if m == nil || !m.listed || m.available != state.Available || (state.Weight != 0 && m.weight != state.Weight) {
			return false
		}
	}
	return true
}

// Close takes the set out of the table. Its runs may still free their permits.
func (s *Set) Close() {
	s.Report(nil)
}

// The methods below require the table's lock.

func (s *Set) find(name string) *Member {
	for _, m := range s.members {
		if m.host.name == name {
			return m
		}
	}
	return nil
}

// member returns the upstream of that name. If the set has none, it adds one.
func (s *Set) member(name string) *Member {
	if m := s.find(name); m != nil {
		return m
	}
	h := s.table.hosts[name]
	if h == nil {
		h = &host{name: name}
		s.table.hosts[name] = h
	}
	h.sets = append(h.sets, s)
	m := &Member{set: s, host: h, limit: s.limits.of(name)}
	s.members = append(s.members, m)
	return m
}

// forget drops a member that is not listed and has no runs. It reports whether it did.
func (s *Set) forget(m *Member) bool {
	if m.listed || m.own > 0 {
		return false
	}
	h := m.host
	h.sets = slices.DeleteFunc(h.sets, func(of *Set) bool { return of == s })
	if len(h.sets) == 0 && h.running == 0 {
		delete(s.table.hosts, h.name)
	}
	return true
}
