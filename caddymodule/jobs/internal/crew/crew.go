// Package crew keeps goroutines for functions that need much stack. A new goroutine begins with
// a small stack, which is copied to a larger one whenever it is full: for the handlers of a
// request that costs more than all else about the goroutine.
package crew

import (
	"slices"
	"sync"
	"time"
)

// stay is how long an idle goroutine stays at least. It ends before twice that time.
const stay = time.Second

// Crew is a number of goroutines that functions use one after the other. The zero value has none,
// and is ready.
type Crew struct {
	mu      sync.Mutex
	idle    []chan func() // of the goroutines that wait; the one that began last is the last one; guarded by mu
	unused  int           // the first ones, which were idle since the last visit; guarded by mu
	visits  *time.Timer   // nil until a goroutine is idle; guarded by mu
	visited bool          // the timer runs; guarded by mu
}

// Go runs f on a separate goroutine, as the statement go does.
func (c *Crew) Go(f func()) {
	if next := c.take(); next != nil {
		next <- f
		return
	}
	go c.work(f, make(chan func(), 1))
}

// take returns the goroutine that has waited for the shortest time, nil if none waits.
func (c *Crew) take() (next chan func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return nil
	}
	next, c.idle = c.idle[last], c.idle[:last]
	c.unused = min(c.unused, last)
	return next
}

// work runs f, and what comes after it until next is closed.
func (c *Crew) work(f func(), next chan func()) {
	for ; f != nil; f = <-next {
		f()
		c.wait(next)
	}
}

// wait makes a goroutine idle.
func (c *Crew) wait(next chan func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, next)
	switch {
	case c.visited:
		return
	case c.visits == nil:
		c.visits = time.AfterFunc(stay, c.visit)
	default:
		c.visits.Reset(stay)
	}
	c.visited = true
}

// visit ends the goroutines that were idle all the time since the last visit.
func (c *Crew) visit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, next := range c.idle[:c.unused] {
		close(next)
	}
	c.idle = slices.Delete(c.idle, 0, c.unused)
	c.unused = len(c.idle)
	if c.visited = c.unused > 0; c.visited {
		c.visits.Reset(stay)
	}
}
