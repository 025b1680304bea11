package upstream

import "sync"

// Stats counts the reports; pings are counted separately, so that a probe next
// to a pool does not change the figures of the pool.
type Stats struct {
	// Workers is the number of workers.
	Workers int `json:"workers"`
	// InFlight is the number of reports that are inside now: in the backlog or
	// with a worker, whether or not their clients have left.
	InFlight int `json:"in_flight"`
	// MaxInFlight is the largest value of InFlight so far.
	MaxInFlight int `json:"max_in_flight"`
	// Executions is the number of reports that a worker has begun.
	Executions int `json:"executions"`
	// Served is the number of reports that were written to the last byte.
	Served int `json:"served"`
	// Pings is the number of answered pings.
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

// reset starts the counts at zero, and the maximum at the reports that are
// inside.
func (c *counters) reset() {
	c.update(func(s *Stats) { *s = Stats{Workers: s.Workers, InFlight: s.InFlight} })
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
