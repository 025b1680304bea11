package caddymodule

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// facts are what placeholders and the access log show of a run. The run writes them. A
// handler in front may have answered without it, and then the log reads them beside that.
type facts struct {
	uploadTook time.Duration // taking its body in
	arrived    time.Time     // at the queue, after that
	decided    bool          // it was admitted or refused
	waited     time.Duration // until then
	admitted   bool          // it got a permit
	took       time.Duration // from there until next returned
	outcome    offloader.Outcome
	reason     offloader.Reason // why it was rejected or timed out, zero if not
	left       bool             // the client did
}

// known returns the facts as they are now, on any goroutine.
func (run *run) known() facts {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.facts
}

// shown returns the run whose facts are shown for an outermost one.
func (run *run) shown() *run {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.tells
}

// show makes the outermost of nested runs show the facts of this one.
func (run *run) show() (root *run) {
	root = run.root()
	root.mu.Lock()
	defer root.mu.Unlock()
	root.tells = run
	return root
}

// uploaded ends the time in which the body was taken in. It requires run.mu.
func (run *run) uploaded() {
	run.uploadTook = time.Since(run.arrived)
	run.arrived = run.arrived.Add(run.uploadTook)
}

// decide ends the wait.
func (run *run) decide() {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.waited = time.Since(run.arrived)
	run.decided = true
}

// admit notes the permit.
func (run *run) admit(p offloader.Permit) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.permit, run.admitted = p, true
}

// reasoned notes why the run was rejected or timed out.
func (run *run) reasoned(r offloader.Reason) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.reason = r
}

// clientGone notes whether the client has left.
func (run *run) clientGone(left bool) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.left = left
}

// returned notes how the run has ended, in the eyes of its handlers.
func (run *run) returned(o offloader.Outcome) {
	outcome := run.outcomeAs(o)
	left := run.left || (!run.tooSlow && run.client.Context().Err() != nil && run.writer.Status() == 0)
	run.mu.Lock()
	defer run.mu.Unlock()
	run.took = time.Since(run.arrived) - run.waited
	run.outcome, run.left = outcome, left
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
