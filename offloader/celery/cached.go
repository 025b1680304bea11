package celery

import (
	"context"
	"sync"
	"time"
)

// cached keeps an answer, good or bad, and asks for it once at a time. Asking
// must end by itself.
type cached[T any] struct {
	asking sync.Mutex // held while somebody asks

	mu    sync.Mutex
	value T         // guarded by mu
	err   error     // guarded by mu
	at    time.Time // guarded by mu; zero before the first answer
}

// get returns the answer if it is not older than keep, else it asks.
func (c *cached[T]) get(ctx context.Context, keep time.Duration, ask func(context.Context) (T, error)) (T, error) {
	if value, err, fresh := c.kept(keep); fresh {
		return value, err
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	if value, err, fresh := c.kept(keep); fresh {
		return value, err
	}
	// Whoever comes first asks for all, and does not take the question along
	// when it leaves.
	value, err := ask(context.WithoutCancel(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value, c.err, c.at = value, err, time.Now()
	return value, err
}

func (c *cached[T]) kept(keep time.Duration) (T, error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.err, !c.at.IsZero() && time.Since(c.at) < keep
}
