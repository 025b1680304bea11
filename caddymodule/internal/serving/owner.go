package serving

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// cancelError is the cause of a cancel from outside, by a timeout or an operator.
type cancelError struct{ reason offloader.Reason }

func (e *cancelError) Error() string { return fmt.Sprintf("%s: %s", e.reason, e.reason.Text()) }

// Unwrap makes it a cancel: a deadline would look like an upstream's failure to
// reverse_proxy, which might try again.
func (e *cancelError) Unwrap() error { return context.Canceled }

// owner is the run as its writer knows it.
type owner struct{ *Run }

// HeadSent ends the wait for the first byte.
func (run owner) HeadSent(status int, _ bool) {
	run.timeouts.stopEarly()
	if verdict(run).judgeHead(status) == offloader.Success {
		run.permit.Began()
	}
	if isEndless(run.writer.Header()) {
		run.beginEndless()
	}
}

// beginEndless notes that the answer is a stream of events.
func (run owner) beginEndless() {
	run.permit.Untimed()
	run.mu.Lock()
	run.endless = true
	goesOn := run.ending.watchExit()
	run.mu.Unlock()
	if !goesOn {
		run.ending.abandonFor(pools.ErrExiting)
	}
}

// GoesOn watches the client of a response without a helper that notices its departure. Most
// responses are over before this. A watch that began earlier has reported a client that left
// before the answer.
func (run owner) GoesOn() {
	switch {
	case run.rule() == abandonFinish, run.body.broken != nil: // it is known to have left
	case run.client.Context().Err() != nil:
		run.ending.abandon()
	default:
		run.ending.watchClient()
	}
}

// Upgraded takes the run out of the pool, unless upgrades hold their permits.
func (run owner) Upgraded() {
	if run.Route.HoldUpgrades {
		return
	}
	run.timeouts.stopRunTime()
	run.upgraded = true
	run.progress.Enter(requests.PhaseUpgraded, time.Now())
	run.Route.Pool.Runs.Observe(run.runTook().Seconds())
	run.permit.Detach()
}

// ClientLost cancels a run whose response no client receives.
func (run owner) ClientLost() {
	if run.rule() != abandonFinish {
		run.ending.abandon()
	}
}

var _ bridge.Owner = owner{}
