package caddymodule

import (
	"sync"
	"time"
)

// rarely lets something through once a second, such as a log line that a flood of
// requests would write each. The zero value is ready.
type rarely struct {
	mu   sync.Mutex
	last time.Time
}

// now reports whether it may happen now.
func (r *rarely) now() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && time.Since(r.last) < time.Second {
		return false
	}
	r.last = time.Now()
	return true
}
