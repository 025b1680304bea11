package offloader

import (
	"sync"
	"time"
)

// alarm is the timer for the next timeout in a queue, or for the next step of a warm-up. It
// is not reset when the waiter with that timeout leaves: it rings early, finds nothing to
// do and is set again. That is cheaper than a reset for each waiter.
type alarm struct {
	ring func() // called on the timer's goroutine; it must not block

	mu     sync.Mutex
	timer  *time.Timer
	at     moment // when it rings, zero if it is not set
	closed bool
}

// set makes the alarm ring at the moment at, or before. If at is zero, it changes nothing.
func (a *alarm) set(at, now moment) {
	if at == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || (a.at != 0 && a.at <= at) {
		return
	}
	a.at = at
	wait := time.Duration(max(at-now, 0))
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.rings)
		return
	}
	a.timer.Reset(wait)
}

func (a *alarm) rings() {
	a.mu.Lock()
	a.at = 0
	closed := a.closed
	a.mu.Unlock()
	if !closed {
		a.ring()
	}
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
