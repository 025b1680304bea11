package serving

import (
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// facts are what placeholders and the access log show of a run. The run writes them. A
// handler in front may have answered without it, and then the log reads them at the same time.
type facts struct {
	uploadTook time.Duration // taking its body in
	arrived    time.Time     // at the queue, after that
	decided    bool          // it was admitted or rejected
	waited     time.Duration // until then
	admitted   bool          // it got a permit
	took       time.Duration // from there until next returned
	outcome    offloader.Outcome
	reason     offloader.Reason // why it was rejected or timed out, zero if not
	left       bool             // the client did
}

// record holds the facts of a run. The run writes them by its methods, and reads them
// without; other goroutines read a copy.
type record struct {
	lock sync.Mutex // held to write, and to read on other goroutines
	facts
}

// known returns the facts as they are now, on any goroutine.
func (rec *record) known() facts {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	return rec.facts
}

// uploaded ends the time in which the body was taken in.
func (rec *record) uploaded() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.uploadTook = time.Since(rec.arrived)
	rec.arrived = rec.arrived.Add(rec.uploadTook)
}

// decide ends the wait.
func (rec *record) decide() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.waited = time.Since(rec.arrived)
	rec.decided = true
}

// admit notes that it got a permit.
func (rec *record) admit() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.admitted = true
}

// reasoned notes why it was rejected or timed out.
func (rec *record) reasoned(r offloader.Reason) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.reason = r
}

// clientGone notes whether the client has left.
func (rec *record) clientGone(left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.left = left
}

// cutShort notes why the run was cancelled, zero if it was not, and whether its client has
// left before its end.
func (rec *record) cutShort(r offloader.Reason, left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.reason, rec.left = r, left
}

// judged notes how the run has ended, in the eyes of its handlers.
func (rec *record) judged(o offloader.Outcome, left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.took = time.Since(rec.arrived) - rec.waited
	rec.outcome, rec.left = o, left
}

func (f facts) queueWait() time.Duration {
	if f.decided {
		return f.waited
	}
	return time.Since(f.arrived)
}

func (f facts) runTook() time.Duration {
	switch {
	case f.took > 0:
		return f.took
	case !f.admitted:
		return 0
	}
	return time.Since(f.arrived) - f.waited
}

// outcomeWord is empty while the run goes on.
func (f facts) outcomeWord() string {
	switch {
	case f.took > 0:
		return f.outcome.String()
	case f.reason != 0:
		return "rejected"
	case f.left:
		return "left"
	}
	return ""
}

func (f facts) reasonWord() string {
	if f.reason == 0 {
		return ""
	}
	return f.reason.String()
}
