package caddymodule

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Deadlines returns when the run that a context belongs to will be cancelled:
// at firstByte unless its answer has begun, and at end in any case. Zero is
// never. The context itself has no deadline, so that handlers do not take it for
// a failure of theirs; those that pass work on can tell how long it is wanted.
func Deadlines(ctx context.Context) (firstByte, end time.Time) {
	for run := runOf(ctx); run != nil; run = run.outer {
		started := run.arrived.Add(run.waited)
		firstByte = earlier(firstByte, started, orDefault(run.handler.FirstByteTimeout, caddy.Duration(defaultFirstByteTimeout)))
		end = earlier(end, started, run.handler.RunTimeout)
	}
	return firstByte, end
}

// earlier returns the earlier of a moment, where zero is never, and the end of a
// timeout.
func earlier(than, started time.Time, timeout caddy.Duration) time.Time {
	if timeout <= 0 {
		return than
	}
	at := started.Add(time.Duration(timeout))
	if than.IsZero() || at.Before(than) {
		return at
	}
	return than
}
