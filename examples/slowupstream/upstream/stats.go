package upstream

import "sync"

// Stats counts the reports; pings are counted apart, so that a probe beside a
// pool does not blur the figures of the pool.
type Stats struct {
	// Workers is how many there are.
	Workers int `json:"workers"`
	// InFlight is how many reports are inside now: in the backlog or with a
	// worker, whether their clients are still there or not.
	InFlight int `json:"in_flight"`
	// MaxInFlight is the most that were inside at once.
	MaxInFlight int `json:"max_in_flight"`
	// Executions is how many reports a worker has begun.
	Executions int `json:"executions"`
	// Served is how many of them were written to the last byte.
	Served int `json:"served"`
	// Pings is how many pings were answered.
	Pings int `json:"pings"`
}

// counters guards Stats.
type counters struct {
	mu    sync.Mutex
	stats Stats // guarded by mu
}

// update changes the figures in one step.
func (c *counters) update(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
	c.stats.MaxInFlight = max(c.stats.MaxInFlight, c.stats.InFlight)
}

// reset forgets the past: counts begin at zero, the maximum at what is inside.
func (c *counters) reset() {
	c.update(func(s *Stats) { *s = Stats{Workers: s.Workers, InFlight: s.InFlight} })
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
