package serving

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/original"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// RoundTrip sends a request through the transport inner. A run can leave such a request
// before the backend has answered.
func RoundTrip(inner http.RoundTripper, r *http.Request) (*http.Response, error) {
	run := runOf(r.Context())
	if run == nil {
		return inner.RoundTrip(r)
	}
	if run.backend.Suspects() {
		r = original.Apart(r)
	}
	res, err := exchange.RoundTrip(inner, r, &run.backend)
	run.backend.note(r, err)
	return res, err
}

// Suspects reports whether another run, in this pool or one around it, may follow.
func (b *backend) Suspects() bool {
	for run := b.run; run != nil; run = run.outer {
		if run.attempts != nil {
			return true
		}
	}
	return false
}

// note notes for later attempts how a round trip has ended.
func (b *backend) note(r *http.Request, err error) {
	for run := b.run; run != nil; run = run.outer {
		if a := run.attempts; a != nil {
			a.note(exchange.Replayable(r), err)
		}
	}
}

func (a *attempts) note(replayable bool, err error) {
	refused := isRefused(err)
	a.unanswered.Store(refused || exchange.Unanswered(err))
	if refused { // also no send before that must not be sent again: the exchange takes care of that
		return
	}
	a.noticed.Add(1)
	if !replayable {
		a.once.Store(true)
	}
}

// isRefused reports whether the backend could not be reached.
func isRefused(err error) bool {
	_, refused := errors.AsType[reverseproxy.DialError](err)
	return refused
}

// maySend reports whether the request may be sent once more.
func (a *attempts) maySend(resends int) bool {
	return !a.once.Load() && int(a.noticed.Load()) <= resends
}

// lost reports whether err, which the handlers have returned, means that the backend has not
// answered. A pool behind that rejects the request has.
func (a *attempts) lost(err error) bool {
	if _, rejected := errors.AsType[*offloader.RejectedError](err); rejected {
		return false
	}
	return outcome.OfError(err) == offloader.Failure && (isRefused(err) || a.unanswered.Load())
}

// anyLeft reports whether the backend still works on a request that the run has left. It
// requires run.mu.
func (b *backend) anyLeft() bool {
	return slices.ContainsFunc(b.exchanges(), (*exchange.Exchange).Left)
}

// exchanges are those that are not over. It requires run.mu.
func (b *backend) exchanges() []*exchange.Exchange {
	if b.current == nil {
		return b.earlier
	}
	return append(slices.Clip(b.earlier), b.current)
}

// Send counts a send, and returns the request as it is sent.
func (b *backend) Send(req *http.Request) *http.Request {
	for r := b.run; r != nil; r = r.outer {
		r.backend.sends.Add(1)
		r.Route.Pool.Sends.Add(1)
		req = b.withRest(req, r)
	}
	return req
}

// withRest returns req with the rest of its time in the header field that the route of run
// of asks for, if it does. of is this run or one around it. The header is a copy: a
// transport may still read the header of the previous send.
func (b *backend) withRest(req *http.Request, of *Run) *http.Request {
	rule := &of.Route.Deadline
	if rule.Header == "" {
		return req
	}
	sent := new(http.Request)
	*sent = *req
	sent.Header = req.Header.Clone()
	_, end := limits{b.run}.endsAt()
	rule.Set(sent.Header, end)
	return sent
}

// Resends is how often a request may be sent again: less after runs that went back. In a pool
// whose breaker holds its callers the request goes back instead: a backend that has just died
// may still accept a connection, which would be its last resend.
func (b *backend) Resends() int {
	n := b.run.Route.Resends
	for r := b.run; r != nil; r = r.outer {
		if r.attempts != nil && r.Route.Pool.Holds() {
			return 0
		}
		if a := r.attempts; a != nil && a.spent > 0 {
			n = min(n, r.Route.Resends-a.spent)
		}
	}
	return max(n, 0)
}

// Noticed counts a send that the backend may have noticed, and that another one follows.
func (b *backend) Noticed() {
	for r := b.run; r != nil; r = r.outer {
		if a := r.attempts; a != nil {
			a.noticed.Add(1)
		}
	}
}

// Endless reports whether an answer goes on until its client leaves.
func (*backend) Endless(h http.Header) bool { return isEndless(h) || bridge.IsGRPC(h) }

// Outlasts reports whether the backend presumably goes on to work after the run has left,
// so that the rest of the answer has to be read.
func (b *backend) Outlasts() bool {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	passed := b.run.body.passed
	return b.outlasts() && (passed == nil || passed.Ended())
}

// outlasts is Outlasts with run.mu held. A backend that reads no more of the body is at
// work; a backend that waits for more of the body will get none, and stops.
func (b *backend) outlasts() bool {
	run := b.run
	return run.rule() != abandonCancel && !run.ending.notices && !b.cancelled && !run.endless &&
		!run.grpc && (run.body.passed == nil || !run.body.passed.Waits())
}

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
