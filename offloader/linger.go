package offloader

import (
	"sync"
	"time"
)

// lingers holds the permits of cancelled runs that are kept for the time Settings.Linger
// after the runs.
type lingers struct {
	end func(*slot) // gives a permit back; called without the lock

	mu     sync.Mutex
	kept   map[*slot]*lingering
	atMost time.Duration // the setting in force
	closed bool
}

// lingering is a permit that is kept after its run. When the permit lingers again after a
// later run, that is another value of this type.
type lingering struct {
	slot        *slot
	since, ends time.Time
	timer       *time.Timer
}

// add keeps the permit in s taken for d, but no longer than the setting allows. It returns
// false if the permit has to come free at once.
func (l *lingers) add(s *slot, d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d = min(d, l.atMost)
	if l.closed || d == 0 {
		return false
	}
	if l.kept == nil {
		l.kept = make(map[*slot]*lingering)
	}
	k := &lingering{slot: s, since: time.Now()}
	k.endAfter(d, l)
	l.kept[s] = k
	return true
}

// over gives a permit back, unless that was done before.
func (l *lingers) over(k *lingering) {
	l.mu.Lock()
	kept := l.kept[k.slot] == k
	if kept {
		delete(l.kept, k.slot)
	}
	l.mu.Unlock()
	if kept {
		l.end(k.slot)
	}
}

// limit applies a setting to the kept permits: a shorter time ends them earlier, a
// longer one changes nothing.
func (l *lingers) limit(atMost time.Duration) {
	l.mu.Lock()
	shorter := atMost < l.atMost
	l.atMost = atMost
	var ended []*lingering
	for _, k := range l.kept {
		if shorter && k.shorten(atMost, l) {
			ended = append(ended, k)
		}
	}
	l.mu.Unlock()
	for _, k := range ended {
		l.over(k)
	}
}

// shorten makes k end atMost after its begin, if that is earlier, and reports whether k has
// to end now. It requires l.mu.
func (k *lingering) shorten(atMost time.Duration, l *lingers) bool {
	ends := k.since.Add(atMost)
	if !ends.Before(k.ends) {
		return false
	}
	rest, waits := time.Until(ends), k.timer.Stop()
	if rest > 0 && waits { // else its timer gives it back at this moment
		k.endAfter(rest, l)
	}
	return rest <= 0
}

func (k *lingering) endAfter(d time.Duration, l *lingers) {
	k.ends = time.Now().Add(d)
	k.timer = time.AfterFunc(d, func() { l.over(k) })
}

// close ends all of them.
func (l *lingers) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.limit(0)
}
