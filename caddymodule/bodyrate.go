package caddymodule

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

const (
	// rateAfter is how long a run has to wait for its client before that can be too
	// slow. It is as long as an upload into the spool is safe from others.
	rateAfter = 5 * time.Second

	// rateCheck is how often it is looked after that.
	rateCheck = 250 * time.Millisecond
)

// errTooSlow ends a run whose client keeps its permit from others by a body that
// trickles.
var errTooSlow = fmt.Errorf("%w: %w", spool.ErrTooSlow, context.Canceled)

// bodyRate measures how fast a client's body comes. Only the time counts in which it is
// waited for: a backend that takes it slowly is not the client's fault. One goroutine
// writes, any may read.
type bodyRate struct {
	taken  atomic.Int64 // bytes
	waited atomic.Int64 // in reads that have ended
	began  atomic.Int64 // the read under way, after the run's arrival; 0 without
}

func (r *bodyRate) begin(now time.Duration) { r.began.Store(max(int64(now), 1)) }

func (r *bodyRate) end(n int, now time.Duration) {
	r.waited.Add(int64(now) - r.began.Swap(0))
	r.taken.Add(int64(n))
}

// tooSlow reports whether a read waits for a client that has brought less than so many
// bytes a second.
func (r *bodyRate) tooSlow(least int64, now time.Duration) bool {
	began := r.began.Load()
	waited := time.Duration(r.waited.Load() + int64(now) - began)
	return began != 0 && waited >= rateAfter && float64(r.taken.Load()) < float64(least)*waited.Seconds()
}

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
