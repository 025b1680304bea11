package resource

import "sync"

// counter counts what goes on at the same time, by key. The zero value is ready.
type counter[K comparable] struct {
	mu sync.Mutex
	n  map[K]int // guarded by mu; without zeros
}

// enter counts one more, unless the limit is reached. The caller must call leave once.
func (c *counter[K]) enter(key K, limit int) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[key] >= limit {
		return nil, false
	}
	if c.n == nil {
		c.n = make(map[K]int)
	}
	c.n[key]++
	return func() { c.leave(key) }, true
}

func (c *counter[K]) leave(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[key]--; c.n[key] == 0 {
		delete(c.n, key)
	}
}
