package caddymodule

import (
	"net/http"
	"slices"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
)

// What a run and its exchanges with the backend have to tell each other. An exchange
// belongs to the innermost of nested runs, and keeps the permits of all.

// Begin is called when a request of the run is about to be sent to the backend.
func (run *run) Begin(x *exchange.Exchange) error {
	for r := run; r != nil; r = r.outer {
		if err := r.begin(x); err != nil {
			run.End(x, false)
			return err
		}
	}
	run.sent = x
	return nil
}

func (run *run) begin(x *exchange.Exchange) error {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.cause != nil {
		return run.cause
	}
	if run.exchange != nil {
		if run.earlier == nil {
			run.earlier = new(earlierOnes)
		}
		run.earlier.exchanges = append(run.earlier.exchanges, run.exchange)
	}
	run.exchange = x
	return nil
}

// current is the exchange in which the run sends, nil without one. Only a handler that
// has its answer, or no use for it, begins another one.
func (run *run) current() *exchange.Exchange {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.exchange
}

// anyLeft reports whether the backend still works for the run, which has left. It
// requires run.mu.
func (run *run) anyLeft() bool {
	return slices.ContainsFunc(run.exchanges(), (*exchange.Exchange).Left)
}

// exchanges are those that are not over. It requires run.mu.
func (run *run) exchanges() []*exchange.Exchange {
	switch {
	case run.earlier != nil && run.exchange != nil:
		return append(slices.Clone(run.earlier.exchanges), run.exchange)
	case run.earlier != nil:
		return run.earlier.exchanges
	case run.exchange != nil:
		return []*exchange.Exchange{run.exchange}
	}
	return nil
}

// Sent counts a send to the backend.
func (run *run) Sent() {
	for r := run; r != nil; r = r.outer {
		r.sends.Add(1)
		r.route.Pool.sends.Add(1)
	}
}

// Resends is how often a request may be sent again.
func (run *run) Resends() int { return run.route.Resends }

// Endless reports whether an answer goes on until its client leaves.
func (run *run) Endless(h http.Header) bool { return isEndless(h) || bridge.IsGRPC(h) }

// Outlasts reports whether the backend of a run that ends before its answer is presumed
// to work on, so that the rest is read.
func (run *run) Outlasts() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.outlasts() && (run.unspooled == nil || run.unspooled.ended())
}

// outlasts requires run.mu. A backend that takes no more of a body is at work; one that
// waits for more gets none.
func (run *run) outlasts() bool {
	return run.rule() != abandonCancel && !run.notices && !run.cancelled && !run.endless &&
		!run.grpc && (run.unspooled == nil || !run.unspooled.waits())
}

// End is called when the backend has answered or its connection has ended. cut says
// that it was made to.
func (run *run) End(x *exchange.Exchange, cut bool) {
	for r := run; r != nil; r = r.outer {
		r.backendEnded(x, cut)
	}
}

func (run *run) backendEnded(x *exchange.Exchange, cut bool) {
	run.mu.Lock()
	if run.exchange == x {
		run.exchange = nil
	} else if run.earlier != nil {
		run.earlier.exchanges = slices.DeleteFunc(run.earlier.exchanges, func(other *exchange.Exchange) bool { return other == x })
	}
	run.cancelled = run.cancelled || cut || (run.unspooled != nil && run.unspooled.cutShort())
	last := run.held && len(run.exchanges()) == 0
	run.held = run.held && !last
	gone := run.gone // if it is not, leave disposes of it
	run.mu.Unlock()
	if !last {
		return
	}
	run.giveBack()
	if gone {
		run.dispose()
	}
}

var _ exchange.Owner = (*run)(nil)
