// Package timerlist calls a function when work is not done in time. All entries of one
// [List] have the same duration, so they expire in the order in which they were added, and
// one timer is enough for all: an entry costs two short locks and no allocation.
package timerlist

import (
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/list"
)

// List is a list of timers that expire after the same duration.
type List struct {
	after time.Duration

	mu      sync.Mutex
	epoch   time.Time         // of the first entry; entries count from it, since a duration is smaller than a time
	timers  list.List[*Timer] // guarded by mu, like the fields of all entries
	timer   *time.Timer
	ticking bool // the timer will call expire
}

// Timer is one entry of a list, to be embedded in the struct that it guards. It may
// be started again after it has expired or was stopped.
type Timer struct {
	element list.Element[*Timer]
	due     time.Duration // since the list's epoch
	expirer Expirer       // nil outside of the list
}

// Expirer is called when a timer expires, without any lock, on the goroutine of the
// list's timer, which it must not block.
type Expirer interface{ Expired(*Timer) }

// New returns a list whose entries expire after d. Zero or less: never.
func New(d time.Duration) *List { return &List{after: d} }

// Start enters t, which must not be in a list.
func (l *List) Start(t *Timer, e Expirer) {
	if l.after <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch.IsZero() {
		l.epoch = time.Now()
	}
	t.due, t.expirer = time.Since(l.epoch)+l.after, e
	t.element.Value = t
	l.timers.Push(&t.element)
	l.tick(l.after)
}

// Stop takes t out of the list. It reports false if t is not in there: then it was
// never started, or it has expired and its Expirer has been or is about to be called.
func (l *List) Stop(t *Timer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.expirer == nil {
		return false
	}
	l.remove(t)
	return true
}

// tick starts the timer if it does not run. The timer is not stopped when its entry leaves:
// it then finds nothing and is set for the next entry, if there is one.
func (l *List) tick(wait time.Duration) {
	switch {
	case l.ticking:
		return
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, l.expire)
	default:
		l.timer.Reset(wait)
	}
	l.ticking = true
}

func (l *List) expire() {
	for t, e := l.pop(); t != nil; t, e = l.pop() {
		e.Expired(t)
	}
}

// pop takes out the first entry if it is due, or sets the timer for it.
func (l *List) pop() (*Timer, Expirer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticking = false
	front := l.timers.Front()
	if front == nil {
		return nil, nil
	}
	t := front.Value
	if wait := t.due - time.Since(l.epoch); wait > 0 {
		l.tick(wait)
		return nil, nil
	}
	e := t.expirer
	l.remove(t)
	return t, e
}

func (l *List) remove(t *Timer) {
	l.timers.Remove(&t.element)
	t.expirer = nil
}
