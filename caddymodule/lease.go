package caddymodule

import (
	"slices"
	"sync"
)

// leases decides which of several configurations a thing that outlives them
// follows: the one that started last. A configuration that fails to load never
// starts, so it changes nothing, and one that ends gives way to what it had
// replaced.
type leases[T any] struct {
	mu    sync.Mutex
	all   []*lease[T] // in the order in which they started
	apply func(T)     // nil for those that ask for the last
}

// lease is the claim of one configuration.
type lease[T any] struct {
	of    *leases[T]
	value T
}

func (l *leases[T]) start(value T) *lease[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := &lease[T]{of: l, value: value}
	l.all = append(l.all, one)
	if l.apply != nil {
		l.apply(value)
	}
	return one
}

// last is the value of the configuration that rules, zero without one.
func (l *leases[T]) last() (value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.all); n > 0 {
		value = l.all[n-1].value
	}
	return value
}

// none reports whether no configuration has started.
func (l *leases[T]) none() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all) == 0
}

// end drops the lease. It does nothing for one that never started.
func (l *lease[T]) end() {
	if l == nil {
		return
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	all := l.of.all
	newest := all[len(all)-1] == l
	l.of.all = slices.DeleteFunc(all, func(other *lease[T]) bool { return other == l })
	if n := len(l.of.all); newest && n > 0 && l.of.apply != nil {
		l.of.apply(l.of.all[n-1].value)
	}
}
