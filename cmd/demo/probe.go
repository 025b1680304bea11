package main

import (
	"context"
	"sync"
	"time"
)

// probe asks a fast route at fixed times, whether the last answer has come or
// not, and measures from the time it meant to ask: a late answer hides nothing.
type probe struct {
	every time.Duration
	url   string
}

// run asks until enough is closed or ctx is done, then waits for the answers
// that are still open.
func (p probe) run(ctx context.Context, enough <-chan struct{}, c *client, t *tally) {
	var open sync.WaitGroup
	defer open.Wait()
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-enough:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// A timer that comes late makes up for it at once.
		for ; !next.After(time.Now()); next = next.Add(p.every) {
			meant := next
			open.Go(func() {
				t.measure(meant, func() string { return c.fetch(ctx, p.url, digest{}) })
			})
		}
		timer.Reset(time.Until(next))
	}
}
