package pools

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxHeld is the largest number of rejections that are delayed at once, in all pools
// together. Each of them keeps a connection and its goroutine.
const maxHeld = 256

// holds are the rejections of a pool that are answered with a delay (reject_hold). They
// have no permit and no place in the queue.
type holds struct {
	all *atomic.Int32 // of all pools
	now atomic.Int32

	mu    sync.Mutex
	ended chan struct{} // closed when the holds end early, nil without any
}

// hold blocks for d, or until the client leaves or the holds are released. It returns how
// long it has blocked. It returns false at once if too many rejections are held.
func (h *holds) hold(client context.Context, d time.Duration) (time.Duration, bool) {
	if h.all.Add(1) > maxHeld {
		h.all.Add(-1)
		return 0, false
	}
	h.now.Add(1)
	defer func() {
		h.now.Add(-1)
		h.all.Add(-1)
	}()
	began, timer := time.Now(), time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-client.Done():
	case <-h.end():
	}
	return time.Since(began), true
}

func (h *holds) end() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended == nil {
		h.ended = make(chan struct{})
	}
	return h.ended
}

// release ends all holds.
func (h *holds) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		close(h.ended)
		h.ended = nil
	}
}
