package watch

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Health records when the connection to a server was lost, and why.
type Health struct {
	// ReconnectTimeout is how long waiters wait for a lost connection.
	ReconnectTimeout time.Duration

	mu    sync.Mutex
	fault error     // of the last attempt, guarded by mu
	down  time.Time // time of the loss, zero while connected; guarded by mu
}

// Start records that there is no connection yet.
func (h *Health) Start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = time.Now()
}

// Wait returns the rest of limit, the time to wait for a connection, which counts from the
// loss of the last one.
func (h *Health) Wait(limit time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down.IsZero() {
		return limit
	}
	return max(limit-time.Since(h.down), 0)
}

// Up records that there is a connection.
func (h *Health) Up() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault, h.down = nil, time.Time{}
}

// Lost records that there is no connection, and why. It returns nil until ReconnectTimeout has
// passed, and then an error for all waiters.
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

// Unavailable returns the error of a wait for the server that took too long.
func (h *Health) Unavailable(within time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		return fmt.Errorf("%w: %w", celery.ErrUnavailable, h.fault)
	}
	return fmt.Errorf("%w: no reply within %s", celery.ErrUnavailable, within)
}
