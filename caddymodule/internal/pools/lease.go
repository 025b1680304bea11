package pools

import (
	"slices"
	"sync"
)

// Leases decides which of several configurations sets a value that outlives them: the one
// that started last. A configuration that fails to load never starts, so it changes
// nothing. When a configuration ends, the one before it counts again.
type Leases[T any] struct {
	mu    sync.Mutex
	all   []*Lease[T] // in the order in which they started
	Apply func(T)     // nil if its users call Last
}

// Lease is the value of one configuration, until the configuration ends.
type Lease[T any] struct {
	of    *Leases[T]
	value T
}

// Start applies the value of a configuration that has started, until its lease ends.
func (l *Leases[T]) Start(value T) *Lease[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := &Lease[T]{of: l, value: value}
	l.all = append(l.all, one)
	if l.Apply != nil {
		l.Apply(value)
	}
	return one
}

// Last returns the value of the configuration that started last, zero without one.
func (l *Leases[T]) Last() (value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.all); n > 0 {
		value = l.all[n-1].value
	}
	return value
}

// None reports whether no configuration has started.
func (l *Leases[T]) None() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all) == 0
}

// End ends the lease. It does nothing for a nil lease, of a configuration that never
// started.
func (l *Lease[T]) End() {
	if l == nil {
		return
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	all := l.of.all
	newest := all[len(all)-1] == l
	l.of.all = slices.DeleteFunc(all, func(other *Lease[T]) bool { return other == l })
	if n := len(l.of.all); newest && n > 0 && l.of.Apply != nil {
		l.of.Apply(l.of.all[n-1].value)
	}
}
