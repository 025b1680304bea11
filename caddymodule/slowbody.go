package caddymodule

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// errTooSlow ends a run whose client keeps its permit from others by a body that
// trickles.
var errTooSlow = fmt.Errorf("%w: %w", spool.ErrTooSlow, context.Canceled)

// watchRate looks now and then, until the answer has begun, whether the body comes fast
// enough. From then on client and backend may be silent for as long as they agree to.
func (b *clientBody) watchRate() {
	if budget.Limits().MinRate > 0 {
		b.watch = time.AfterFunc(rateAfter, b.checkRate)
	}
}

func (b *clientBody) checkRate() {
	run := b.run
	switch {
	case b.ended() || run.writer.Status() != 0 || run.isOver():
		return
	case b.rate.tooSlow(budget.Limits().MinRate, b.sinceArrival()) && run.route.Pool.Gauges().Waiting > 0:
		run.cutTooSlow()
		return
	}
	b.watch.Reset(rateCheck)
}

// isOver reports whether the run has ended, or was cut off from its client.
func (run *run) isOver() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.ended || run.cause != nil
}

// cutTooSlow ends the run for its client's fault, unless its answer has just begun.
func (run *run) cutTooSlow() {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ended || run.cause != nil || !run.writer.KillBeforeHead(errTooSlow) {
		return
	}
	run.tooSlow = true
	run.unspooled.failed.Store(true)
	run.permit.Report(offloader.Excluded)
	run.cutOff(errTooSlow)
}
