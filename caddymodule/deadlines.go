package caddymodule

import (
	"context"
	"time"
)

// Deadlines returns when the run that a context belongs to will be cancelled:
// at firstByte unless its answer has begun, and at end in any case. Zero is
// never. The context itself has no deadline, so that handlers do not take it for
// a failure of theirs; those that pass work on can tell how long it is wanted.
func Deadlines(ctx context.Context) (firstByte, end time.Time) {
	for run := runOf(ctx); run != nil; run = run.outer {
		started := run.arrived.Add(run.waited)
		firstByte = earlier(firstByte, started, run.route.FirstByteTimeout)
		end = earlier(end, started, run.route.RunTimeout)
	}
	return firstByte, end
}

// earlier returns the earlier of a moment, where zero is never, and the end of a
// timeout.
func earlier(than, started time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return than
	}
	at := started.Add(timeout)
	if than.IsZero() || at.Before(than) {
		return at
	}
	return than
}
