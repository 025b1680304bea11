package upstream

import (
	"context"
	"errors"
	"sync"
)

// Errors of a request that got no worker.
var (
	errLeft   = errors.New("the client left before it was accepted")
	errClosed = errors.New("the upstream is closed")
)

// workers is a fixed number of workers behind a listen backlog.
type workers struct {
	number int
	thrash float64
	inside chan struct{} // one element for each request accepted or in the backlog
	busy   chan struct{} // one element for each busy worker
	quit   chan struct{} // closed by close
	once   sync.Once
}

func newWorkers(number, backlog int, thrash float64) *workers {
	return &workers{
		number: number,
		thrash: thrash,
		inside: make(chan struct{}, number+backlog),
		busy:   make(chan struct{}, number),
		quit:   make(chan struct{}),
	}
}

// enter takes a place in the backlog. Without a free place the client is not
// connected yet, as after a lost SYN. Only in this state does the server
// notice that a client leaves.
func (w *workers) enter(ctx context.Context) error {
	select {
	case w.inside <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errLeft
	case <-w.quit:
		return errClosed
	}
}

// accept waits for a worker, in the order of arrival. The request keeps its
// place in the backlog, because it is still inside.
func (w *workers) accept() error {
	select {
	case w.busy <- struct{}{}:
		return nil
	case <-w.quit:
		return errClosed
	}
}

// slowdown is the factor by which all work takes longer now.
func (w *workers) slowdown() float64 {
	return 1 + w.thrash*float64(max(0, len(w.inside)-w.number))
}

// done releases the worker, leave the place.
func (w *workers) done()  { <-w.busy }
func (w *workers) leave() { <-w.inside }

// close ends all waits.
func (w *workers) close() { w.once.Do(func() { close(w.quit) }) }
