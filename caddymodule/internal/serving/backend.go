package serving

import (
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
)

// backend is the work of a run in its backend: the exchanges that it sends requests in. An
// exchange belongs to the innermost of nested runs, and keeps the permits of all.
type backend struct {
	run *Run

	sends atomic.Int32       // requests sent, by all handlers behind
	own   *exchange.Exchange // the last one that this run began itself, nil without

	// Guarded by run.mu.
	current   *exchange.Exchange   // the last one, nil once it is over
	earlier   []*exchange.Exchange // those that the run has left for another one
	cancelled bool                 // before it had answered
	held      bool                 // next has returned, and the permit waits for the answer
}

// RoundTrip sends a request through a transport, for a run in a way that it can leave.
func RoundTrip(inner http.RoundTripper, r *http.Request) (*http.Response, error) {
	if run := runOf(r.Context()); run != nil {
		return exchange.RoundTrip(inner, r, &run.backend)
	}
	return inner.RoundTrip(r)
}

// Begin is called when a request of the run is about to be sent.
func (b *backend) Begin(x *exchange.Exchange) error {
	for r := b.run; r != nil; r = r.outer {
		if err := r.backend.begin(x); err != nil {
			b.End(x, false)
			return err
		}
	}
	b.own = x
	return nil
}

func (b *backend) begin(x *exchange.Exchange) error {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	if b.run.ending.cause != nil {
		return b.run.ending.cause
	}
	if b.current != nil {
		b.earlier = append(b.earlier, b.current)
	}
	b.current = x
	return nil
}

// sending is the exchange in which the run sends, nil without one. Only a handler that
// has its answer, or no use for it, begins another one.
func (b *backend) sending() *exchange.Exchange {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	return b.current
}

// anyLeft reports whether the backend still works for the run, which has left. It
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

// Sent counts a send.
func (b *backend) Sent() {
	for r := b.run; r != nil; r = r.outer {
		r.backend.sends.Add(1)
		r.Route.Pool.Sends.Add(1)
	}
}

// Resends is how often a request may be sent again.
func (b *backend) Resends() int { return b.run.Route.Resends }

// Endless reports whether an answer goes on until its client leaves.
func (*backend) Endless(h http.Header) bool { return isEndless(h) || bridge.IsGRPC(h) }

// Outlasts reports whether the backend of a run that ends before its answer is presumed
// to work on, so that the rest is read.
func (b *backend) Outlasts() bool {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	passed := b.run.body.passed
	return b.outlasts() && (passed == nil || passed.ended())
}

// outlasts requires run.mu. A backend that takes no more of a body is at work; one that
// waits for more gets none.
func (b *backend) outlasts() bool {
	run := b.run
	return run.rule() != abandonCancel && !run.ending.notices && !b.cancelled && !run.endless &&
		!run.grpc && (run.body.passed == nil || !run.body.passed.waits())
}

// End is called when the backend has answered or its connection has ended. cut says
// that it was made to.
func (b *backend) End(x *exchange.Exchange, cut bool) {
	for r := b.run; r != nil; r = r.outer {
		last, gone := r.backend.end(x, cut)
		if last {
			r.giveBack()
		}
		if last && gone {
			r.dispose()
		}
	}
}

// end notes that an exchange is over. It reports whether it was the last that kept the
// permit of a run whose handlers have returned, and whether the request is gone: if not,
// leave disposes of it.
func (b *backend) end(x *exchange.Exchange, cut bool) (last, gone bool) {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	if b.current == x {
		b.current = nil
	} else {
		b.earlier = slices.DeleteFunc(b.earlier, func(other *exchange.Exchange) bool { return other == x })
	}
	passed := b.run.body.passed
	b.cancelled = b.cancelled || cut || (passed != nil && passed.cutShort())
	last = b.held && len(b.exchanges()) == 0
	b.held = b.held && !last
	return last, b.run.gone
}

var _ exchange.Owner = (*backend)(nil)
