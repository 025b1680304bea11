package refresh

import (
	"context"
	"sync"
)

// Group owns the goroutines of the refreshes of several caches, so that one call ends them.
type Group struct {
	errClosed error
	ctx       context.Context // of all refreshes; Close cancels it
	cancel    context.CancelFunc

	mu      sync.Mutex
	closed  bool           // guarded by mu
	running sync.WaitGroup // grows under mu only, while not closed
}

// NewGroup returns a group. Get returns errClosed for refreshes that Close ended, and for
// those that start later.
func NewGroup(errClosed error) *Group {
	g := &Group{errClosed: errClosed}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// start runs f in a goroutine. It returns false if the group is closed.
func (g *Group) start(f func(context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Go(func() { f(g.ctx) })
	return true
}

// Close cancels the running refreshes and waits for their end. Later calls do nothing.
// Cached results remain readable until they expire.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.running.Wait()
}
