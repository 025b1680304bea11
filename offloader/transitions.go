package offloader

import (
	"sync"
	"sync/atomic"
)

// transition is one change of the state of a pool's breaker.
type transition struct {
	from, to  BreakerState
	unbounded bool // from now on all may run at once, without a ramp
}

// transitions are what has happened to the breakers of a pool, one after the
// other, and has not been handled yet. A breaker reports under a lock of others,
// so that nothing can be done about it there.
type transitions struct {
	handle func(transition) // called outside of all locks, one at a time

	unread   atomic.Int32 // length of pending
	handling atomic.Bool  // somebody is in notify

	mu      sync.Mutex
	pending []transition // not yet fetched by next
}

func (l *transitions) add(t transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, t)
	l.unread.Add(1)
}

// notify handles transitions once all locks are released. Whoever finds some
// handles all of them, so that they are handled in order and a handler may use
// the pool itself.
func (l *transitions) notify() {
	for l.unread.Load() > 0 && l.handling.CompareAndSwap(false, true) {
		for t, ok := l.next(); ok; t, ok = l.next() {
			l.handle(t)
		}
		l.handling.Store(false)
	}
}

// next takes the oldest transition that has not been handled.
func (l *transitions) next() (transition, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		return transition{}, false
	}
	t := l.pending[0]
	l.pending = l.pending[1:]
	l.unread.Add(-1)
	return t, true
}
