package load

import (
	"context"
	"sync"
	"time"
)

// Crowd is a number of clients that send the same request several times, each as
// soon as it has the answer to its last one.
type Crowd struct {
	Clients, Each int
	URL           string
	Want          Digest // of the correct answer; zero: any
}

// Run returns when all requests are answered or lost, or soon after ctx is done.
func (w Crowd) Run(ctx context.Context, c *Client, t *Tally) {
	var clients sync.WaitGroup
	for range w.Clients {
		clients.Go(func() {
			for range w.Each {
				if ctx.Err() != nil {
					t.Add(NeverSent, 0)
					continue
				}
				t.Measure(time.Now(), func() string { return c.Fetch(ctx, w.URL, w.Want) })
			}
		})
	}
	clients.Wait()
}
