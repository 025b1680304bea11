package load

import (
	"context"
	"sync"
	"time"
)

// Probe asks a fast route at fixed times, whether the last answer has come or
// not, and measures from the time it meant to ask: a late answer hides nothing.
type Probe struct {
	Every time.Duration
	URL   string
}

// Run asks until enough is closed or ctx is done, then waits for the answers
// that are still open.
func (p Probe) Run(ctx context.Context, enough <-chan struct{}, c *Client, t *Tally) {
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
		for ; !next.After(time.Now()); next = next.Add(p.Every) {
			meant := next
			open.Go(func() {
				t.Measure(meant, func() string { return c.Fetch(ctx, p.URL, Digest{}) })
			})
		}
		timer.Reset(time.Until(next))
	}
}
