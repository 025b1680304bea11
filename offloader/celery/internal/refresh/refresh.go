// Package refresh caches values that take long to fetch and go out of date: one fetch at a
// time for any number of callers, partial results for callers that need no more, and stale
// values while a new one is fetched.
//
// A value passes through these ages, counted from the end of the fetch that returned it:
//
//	0 ------- Fresh -------------- Stale ------>
//	  fresh          stale               expired
//	  returned       returned, and       not returned:
//	                 refreshed in the    callers wait for
//	                 background          a refresh
//
// These ages hold for a caller that the value satisfies. If it does not, as a list without
// the name that the caller looks for, the value is returned until Retry has passed. After
// that the caller waits for a refresh. An error is cached in the same way, for Retry.
//
// The package is no general cache: there is one value and no key. Keep one [Cached] for
// each value.
package refresh

import (
	"context"
	"sync"
	"time"
)

// Cached is a value with the function that fetches it. It starts a refresh when a caller
// needs one, never by a timer, and at most one at a time. Create one with [New]; it is safe
// for concurrent use.
type Cached[T any] struct {
	group     *Group
	lifetimes Lifetimes
	fetch     Fetch[T]

	mu      sync.Mutex
	last    result[T]   // of the last refresh that ended, guarded by mu
	running *refresh[T] // nil while no refresh runs, guarded by mu
}

// Lifetimes are the ages up to which a result is returned without waiting.
type Lifetimes struct {
	// Fresh is the age up to which a satisfying value is returned without a refresh.
	Fresh time.Duration
	// Stale is the age up to which a satisfying value is still returned, while a refresh
	// runs in the background. Zero, or any value up to Fresh: stale values are not returned.
	Stale time.Duration
	// Retry is the age up to which an error, or a value that does not satisfy the caller,
	// is returned without a refresh. It bounds how often callers that are never satisfied
	// cause one.
	Retry time.Duration
}

// Fetch gets the value. It calls publish with all that it has so far, each time that there is
// more, and returns nil after the last part. The last published value is the whole one, and
// the zero value stands for a fetch that published nothing. Published values belong to the
// callers: Fetch must not modify them. The context ends when the group is closed. A fetch must
// also limit its own time, since callers may wait for it without a deadline.
type Fetch[T any] func(ctx context.Context, publish func(T)) error

// New returns an empty cache of the values of fetch. Refreshes run in the group.
func New[T any](g *Group, l Lifetimes, fetch Fetch[T]) *Cached[T] {
	return &Cached[T]{group: g, lifetimes: l, fetch: fetch}
}

// result is the outcome of one refresh.
type result[T any] struct {
	value T
	err   error
	at    time.Time // end of the refresh, zero before
}

// refresh is one run of fetch. The mutex of its Cached guards the fields.
type refresh[T any] struct {
	result[T]
	published bool          // value holds a part at least
	ended     bool          // value and err are final
	changed   chan struct{} // closed at each change, and replaced unless ended
}

// Get returns a cached value whose age allows it (see [Lifetimes]). Otherwise it waits for
// a refresh: it returns the first part that satisfies the caller, or the whole value at the
// end, satisfying or not. If the context of the caller ends, Get returns its cause; the
// refresh goes on for other callers. satisfied must return at once, and may be called with
// a value that other callers read too.
func (c *Cached[T]) Get(ctx context.Context, satisfied func(T) bool) (T, error) {
	var r *refresh[T]
	for r == nil {
		last, ok := c.cached(satisfied)
		if ok {
			return last.value, last.err
		}
		r = c.join(last)
	}
	return c.await(ctx, r, satisfied)
}

// Last returns the value of the last refresh, however old, and causes none. ok is false before
// the first refresh, and if the last one has failed.
func (c *Cached[T]) Last() (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.value, !c.last.at.IsZero() && c.last.err == nil
}

// await waits until a refresh satisfies a caller, or ends.
func (c *Cached[T]) await(ctx context.Context, r *refresh[T], satisfied func(T) bool) (T, error) {
	for {
		now, changed := c.state(r)
		if now.ended || (now.published && satisfied(now.value)) {
			return now.value, now.err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// cached returns the last result. ok reports whether the caller may have it without waiting.
// A stale value starts a refresh in the background.
func (c *Cached[T]) cached(satisfied func(T) bool) (last result[T], ok bool) {
	c.mu.Lock()
	last = c.last
	c.mu.Unlock()
	age, l := time.Since(last.at), c.lifetimes
	switch {
	case last.at.IsZero(): // no refresh has ended
		return last, false
	case last.err != nil || !satisfied(last.value):
		return last, age < l.Retry
	case age < l.Fresh:
		return last, true
	case age < l.Stale:
		c.join(last)
		return last, true
	}
	return last, false
}

// join returns the running refresh, or starts one. It returns nil if a refresh has ended
// since the caller saw the result seen: the caller must look at the new one first, or callers
// that arrive at the end of a refresh would each start another.
func (c *Cached[T]) join(seen result[T]) *refresh[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil || !c.last.at.Equal(seen.at) {
		return c.running
	}
	r := &refresh[T]{changed: make(chan struct{})}
	if !c.group.start(func(ctx context.Context) { c.run(ctx, r) }) {
		r.err, r.ended = c.group.errClosed, true // not kept: it is no result of a fetch
		return r
	}
	c.running = r
	return r
}

// state returns a copy of the refresh, and the channel that is closed at its next change.
func (c *Cached[T]) state(r *refresh[T]) (now refresh[T], changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *r, r.changed
}

// run fetches the value. It has its own goroutine, because the caller that started the
// refresh may leave before the others.
func (c *Cached[T]) run(ctx context.Context, r *refresh[T]) {
	err := c.fetch(ctx, func(value T) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r.value, r.published = value, true
		close(r.changed)
		r.changed = make(chan struct{})
	})
	if ctx.Err() != nil {
		err = c.group.errClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.err, r.at, r.ended = err, time.Now(), true
	c.last, c.running = r.result, nil
	close(r.changed)
}
