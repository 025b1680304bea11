package load

import (
	"context"
	"fmt"
	"time"
)

// Ready waits until url answers, for ten seconds at most.
func Ready(ctx context.Context, c *Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		kind := c.Fetch(ctx, url, Digest{})
		if kind == Done {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s (%s): %w", url, kind, context.Cause(ctx))
		}
	}
}
