package offloader

import (
	"sync"
	"time"
)

// Timeouts calls back those who are not done in time. All entries of one list
// share one duration, so their order of entry is their order of expiry, and one
// timer serves them all: an entry costs two short locks and no allocation. The
// zero duration never expires.
type Timeouts struct {
	after time.Duration

	mu          sync.Mutex
	epoch       time.Time // of the first entry; others count from it, which is shorter than a time of their own
	front, back *Timeout  // guarded by mu, like the fields of all entries
	timer       *time.Timer
	ticking     bool // the timer will call expire
}

// Timeout is one entry, to be embedded where it is used. It may be started
// again after it has expired or was stopped.
type Timeout struct {
	prev, next *Timeout
	due        time.Duration // since the list's epoch
	listed     bool
	expirer    Expirer
}

// Expirer is told that one of its timeouts has expired. It is called without
// any lock on the goroutine of the timer, which it must not block.
type Expirer interface{ Expired(*Timeout) }

// NewTimeouts returns a list whose entries expire after d. Zero or less: never.
func NewTimeouts(d time.Duration) *Timeouts { return &Timeouts{after: d} }

// Start enters t, which must not be in a list.
func (l *Timeouts) Start(t *Timeout, e Expirer) {
	if l.after <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch.IsZero() {
		l.epoch = time.Now()
	}
	t.due, t.expirer, t.listed = time.Since(l.epoch)+l.after, e, true
	t.prev, t.next = l.back, nil
	if l.back == nil {
		l.front = t
	} else {
		l.back.next = t
	}
	l.back = t
	l.tick(l.after)
}

// Stop takes t out of the list. It reports false if t is not in there: then it
// was never started, or it has expired and its Expirer has been or is about to
// be called.
func (l *Timeouts) Stop(t *Timeout) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.listed {
		return false
	}
	l.remove(t)
	return true
}

// tick makes sure that the timer runs. It is not stopped when its entry leaves:
// it then finds nothing and is set for the next one, if there is any.
func (l *Timeouts) tick(wait time.Duration) {
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

func (l *Timeouts) expire() {
	for t, e := l.pop(); t != nil; t, e = l.pop() {
		e.Expired(t)
	}
}

// pop takes out the first entry that is due, or sets the timer for the first
// that will be.
func (l *Timeouts) pop() (*Timeout, Expirer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticking = false
	t := l.front
	if t == nil {
		return nil, nil
	}
	if wait := t.due - time.Since(l.epoch); wait > 0 {
		l.tick(wait)
		return nil, nil
	}
	l.remove(t)
	return t, t.expirer
}

func (l *Timeouts) remove(t *Timeout) {
	if t.prev == nil {
		l.front = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.back = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.listed = nil, nil, false
}
