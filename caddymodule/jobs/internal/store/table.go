// Package store shares the stores of jobs between the configurations of the process. A store
// must not be opened twice, and outlives reloads: the configuration that starts takes it
// before the one that it replaces gives it back.
package store

import (
	"context"
	"sync"
)

// Table holds open values by key. The zero value is ready.
type Table[T any] struct {
	mu   sync.Mutex
	open map[string]*entry[T] // guarded by mu, also the fields of entries that say so
}

// entry is a value that is open, or is being opened or closed.
type entry[T any] struct {
	value  T
	err    error         // of opening; written before ready is closed, as value
	ready  chan struct{} // closed when it is open, or has failed to open
	users  int           // guarded by the table's mu
	closed chan struct{} // closed when the value is closed; nil until its close begins; guarded by mu
}

// Lease is the use of a value.
type Lease[T any] struct {
	table *Table[T]
	key   string
	entry *entry[T]
	close func(T)
	end   sync.Once
}

// How opens and closes a value.
type How[T any] struct {
	Open func() (T, error)
	// Close is called on a goroutine of the table, after the last user has ended its lease.
	Close func(T)
}

// Take returns a lease on the value with this key. The first user opens it. If the last one
// has just left, Take waits until the value is closed, and opens another one.
func (t *Table[T]) Take(ctx context.Context, key string, how How[T]) (*Lease[T], error) {
	for {
		e, closing, first := t.join(key)
		if closing != nil {
			select {
			case <-closing:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		if first {
			e.value, e.err = how.Open()
			close(e.ready)
		}
		<-e.ready
		if e.err != nil {
			t.forget(key, e)
			return nil, e.err
		}
		return &Lease[T]{table: t, key: key, entry: e, close: how.Close}, nil
	}
}

// join returns the entry with one user more, or the channel that is closed with it.
func (t *Table[T]) join(key string) (e *entry[T], closing chan struct{}, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e = t.open[key]; e != nil {
		if e.closed != nil {
			return nil, e.closed, false
		}
		e.users++
		return e, nil, false
	}
	if t.open == nil {
		t.open = make(map[string]*entry[T])
	}
	e = &entry[T]{ready: make(chan struct{}), users: 1}
	t.open[key] = e
	return e, nil, true
}

// forget removes an entry.
func (t *Table[T]) forget(key string, e *entry[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[key] == e {
		delete(t.open, key)
	}
}

// Value returns the value.
func (l *Lease[T]) Value() T { return l.entry.value }

// End ends the use. It does not wait for the close of the value. A second call does nothing,
// as does a call on nil.
func (l *Lease[T]) End() {
	if l != nil {
		l.end.Do(l.giveBack)
	}
}

func (l *Lease[T]) giveBack() {
	t, e := l.table, l.entry
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	e.closed = make(chan struct{})
	go func() {
		defer close(e.closed)
		defer t.forget(l.key, e)
		l.close(e.value)
	}()
}

// All returns the values that are open and not being closed.
func (t *Table[T]) All() []T {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []T
	for _, e := range t.open {
		select {
		case <-e.ready:
			if e.err == nil && e.closed == nil {
				all = append(all, e.value)
			}
		default:
		}
	}
	return all
}

// Wait waits until all values that are being closed are closed, or ctx ends.
func (t *Table[T]) Wait(ctx context.Context) {
	for {
		closing := t.closing()
		if closing == nil {
			return
		}
		select {
		case <-closing:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Table[T]) closing() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.open {
		if e.closed != nil {
			return e.closed
		}
	}
	return nil
}
