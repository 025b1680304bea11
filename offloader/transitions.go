package offloader

import (
	"sync"
	"sync/atomic"
)

// transition is one change of the state of a pool's breaker.
type transition struct {
	from, to  BreakerState
	unbounded bool // all may run at once, without a warm-up
}

// transitions holds the changes of a pool's breakers until they are handled. A breaker adds
// a change under gobreaker's mutex, where the handler must not be called.
type transitions struct {
	handle func(transition) // called without locks, one at a time

	unread   atomic.Int32 // length of pending
	handling atomic.Bool  // a goroutine is in notify

	mu      sync.Mutex
	pending []transition // not yet taken by next
}

func (l *transitions) add(t transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, t)
	l.unread.Add(1)
}

// notify handles transitions after all locks are released. One goroutine handles all of
// them, so that they are handled in order and a handler may use the pool itself.
func (l *transitions) notify() {
	for l.unread.Load() > 0 && l.handling.CompareAndSwap(false, true) {
		for t, ok := l.next(); ok; t, ok = l.next() {
			l.handle(t)
		}
		l.handling.Store(false)
	}
}

// next takes the oldest transition that is not handled.
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
