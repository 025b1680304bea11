package pools

import (
	"slices"
	"sync"
)

// set is a set of few values.
type set[T comparable] struct {
	mu  sync.Mutex
	all []T
}

// add reports whether v was not in the set.
func (s *set[T]) add(v T) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.all, v) {
		return false
	}
	s.all = append(s.all, v)
	return true
}

func (s *set[T]) remove(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(other T) bool { return other == v })
}

// List returns the values in the order in which they were added.
func (s *set[T]) List() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
