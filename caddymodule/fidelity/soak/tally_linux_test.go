package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// soakTally counts the results of a soak.
type soakTally struct {
	mu     sync.Mutex
	total  int
	counts map[string]map[string]int // by kind of count
	wrong  []string                  // events that must never happen
	lost   []*soakRequest            // cut without a cause that their clients can see
}

// add counts a request by its faults and its result.
func (s *soakTally) add(of map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	for kind, name := range of {
		if s.counts == nil {
			s.counts = map[string]map[string]int{}
		}
		if s.counts[kind] == nil {
			s.counts[kind] = map[string]int{}
		}
		s.counts[kind][name]++
	}
}

// fail records an event that must never happen.
func (s *soakTally) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// lose notes a request that nothing excuses.
func (s *soakTally) lose(q *soakRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, q)
}

// missing returns which of the names were never counted.
func (s *soakTally) missing(kind string, names []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.counts[kind][name] > 0 })
}

// String is one line.
func (s *soakTally) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := []string{fmt.Sprintf("%d requests", s.total)}
	for _, kind := range slices.Sorted(maps.Keys(s.counts)) {
		var counts []string
		for _, name := range slices.Sorted(maps.Keys(s.counts[kind])) {
			counts = append(counts, fmt.Sprintf("%s %d", name, s.counts[kind][name]))
		}
		parts = append(parts, kind+": "+strings.Join(counts, ", "))
	}
	return strings.Join(parts, "; ")
}
