package celeryredis

import (
	"fmt"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// health knows since when there is no connection, and why.
type health struct {
	patience time.Duration

	mu    sync.Mutex
	fault error     // of the last attempt, guarded by mu
	down  time.Time // zero while there is a connection, guarded by mu
}

// up notes that there is a connection.
func (h *health) up() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault, h.down = nil, time.Time{}
}

// lost notes that there is none. It returns an error for those who have waited
// for one too long, nil before that.
func (h *health) lost(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = err
	if h.down.IsZero() {
		h.down = time.Now()
	}
	if time.Since(h.down) <= h.patience {
		return nil
	}
	return fmt.Errorf("%w for %s: %w", celery.ErrUnavailable, h.patience, err)
}

// unavailable says why something has not come within a time.
func (h *health) unavailable(within time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		return fmt.Errorf("%w: %w", celery.ErrUnavailable, h.fault)
	}
	return fmt.Errorf("%w: no answer within %s", celery.ErrUnavailable, within)
}
