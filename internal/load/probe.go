package load

import (
	"context"
	"sync"
	"time"
)

// Probe sends requests to a fast route at fixed times, whether or not the last
// answer has arrived, and measures from the intended time. So a late answer
// hides no delay.
type Probe struct {
	Every time.Duration
	URL   string
}

// Run sends requests until enough is closed or ctx is done, then waits for the
// open answers.
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
		// A late timer sends the missed requests immediately.
		for ; !next.After(time.Now()); next = next.Add(p.Every) {
			meant := next
			open.Go(func() {
				t.Measure(meant, func() string { return c.Fetch(ctx, p.URL, Digest{}) })
			})
		}
		timer.Reset(time.Until(next))
	}
}
