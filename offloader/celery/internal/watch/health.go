package watch

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Health knows since when there is no connection to a server, and why.
type Health struct {
	// ReconnectTimeout is how long those who wait wait for one.
	ReconnectTimeout time.Duration

	mu    sync.Mutex
	fault error     // of the last attempt, guarded by mu
	down  time.Time // zero while there is a connection, guarded by mu
}

// Start notes that the first connection is yet to come.
func (h *Health) Start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = time.Now()
}

// Wait returns how long somebody who needs a connection should wait for it: no
// longer than one who has waited since it was lost.
func (h *Health) Wait(limit time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down.IsZero() {
		return limit
	}
	return max(limit-time.Since(h.down), 0)
}

// Up notes that there is a connection.
func (h *Health) Up() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault, h.down = nil, time.Time{}
}

// Lost notes that there is none. It returns an error for those who have waited
// for one too long, nil before that.
func (h *Health) Lost(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = err
	if h.down.IsZero() {
		h.down = time.Now()
	}
	if time.Since(h.down) <= h.ReconnectTimeout {
		return nil
	}
	return fmt.Errorf("%w for %s: %w", celery.ErrUnavailable, h.ReconnectTimeout, err)
}

// Unavailable says why something has not come within a time.
func (h *Health) Unavailable(within time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		return fmt.Errorf("%w: %w", celery.ErrUnavailable, h.fault)
	}
	return fmt.Errorf("%w: no answer within %s", celery.ErrUnavailable, within)
}
