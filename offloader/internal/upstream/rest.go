package upstream

import "time"

// Bounds of the pause of an upstream that has not answered a run. It doubles with each run
// after it that is not answered either.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// rest keeps an upstream that has not answered a run from failing many of them: a rejected
// connection frees its permits at once, so that a dead upstream would take all waiters before
// a health check finds it. It pauses, and then gets one run at a time until one is answered,
// or until it becomes available again.
type rest struct {
	lost    int  // runs that were not answered, without an answer between them
	pausing bool // it gets no runs
}

// allows reports whether a run may go to an upstream that has so many permits taken.
func (r *rest) allows(running int) bool { return !r.pausing && (r.lost == 0 || running == 0) }

// end follows a run that was answered, or not sent. A pause goes on.
func (r *rest) end() {
	if !r.pausing {
		r.lost = 0
	}
}

// pause lets an upstream pause. Runs that were on their way change nothing. It requires t.mu.
func (t *Table) pause(h *host) {
	if h.rest.pausing {
		return
	}
	h.rest.pausing = true
	time.AfterFunc(min(firstPause<<min(h.rest.lost, 10), lastPause), func() { t.resume(h) })
	h.rest.lost++
}

// resume ends a pause.
func (t *Table) resume(h *host) {
	t.mu.Lock()
	h.rest.pausing = false
	t.serve()
	var changed []func()
	for _, s := range h.sets {
		changed = append(changed, s.changed)
	}
	t.mu.Unlock()
	for _, f := range changed {
		f()
	}
}
