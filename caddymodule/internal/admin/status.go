package admin

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/extratable"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
)

// Status has everything that a live view of the pools shows at one moment.
type Status struct {
	At           time.Time     `json:"at"`
	Pools        []PoolStatus  `json:"pools"`
	Spool        spoolView     `json:"spool"`
	Explanations []Explanation `json:"explanations"` // the newest first
	Slowest      []Explanation `json:"slowest"`      // of the served requests, the slowest first
	// Tables are those of other plugins.
	Tables []extratable.Table `json:"tables,omitempty"`
	// Jobs: there are jobs to show.
	Jobs bool `json:"jobs,omitempty"`
	// Requests are the requests of the pools for which the caller has asked, by the name of
	// the pool.
	Requests map[string]PoolRequests `json:"requests,omitempty"`
}

// PoolStatus is a pool with its distributions of times.
type PoolStatus struct {
	Pool poolDetail `json:"pool"`
	// Waits and Runs are the times of all requests since the pool was made.
	Waits pools.Distribution `json:"waits"`
	Runs  pools.Distribution `json:"runs"`
}

// PoolRequests are the first requests of a pool, with the numbers of all.
type PoolRequests struct {
	Waiting      []requests.View `json:"waiting"`
	WaitingTotal int             `json:"waiting_total"`
	Running      []requests.View `json:"running"`
	RunningTotal int             `json:"running_total"`
}

// Bounds of the lists in a status.
const (
	statusRequests     = 200
	statusExplanations = 50
)

// StatusOf returns the status of a process, with the requests of the pools that are named.
func StatusOf(p *state.Process, named []string) *Status {
	s := &Status{At: time.Now(), Pools: []PoolStatus{}, Spool: spoolOf(p, false)}
	for _, pool := range p.Pools.Living() {
		s.Pools = append(s.Pools, statusOf(pool))
		if !slices.Contains(named, pool.Name()) {
			continue
		}
		if s.Requests == nil {
			s.Requests = make(map[string]PoolRequests)
		}
		s.Requests[pool.Name()] = requestsOf(pool)
	}
	s.Tables, s.Jobs = extratable.All(), adminroute.Present(jobview.Segment)
	s.Explanations = viewExplanations(p.Explained.Last(statusExplanations))
	s.Slowest = viewExplanations(p.Explained.Slowest(statusExplanations))
	return s
}

func statusOf(p *pools.Pool) PoolStatus {
	return PoolStatus{
		Pool:  detail(p.Snapshot(), p),
		Waits: pools.DistributionOf(p.Waits), Runs: pools.DistributionOf(p.Runs),
	}
}

func requestsOf(p *pools.Pool) PoolRequests {
	waiting, running := serving.Waiting(p), serving.Active(p)
	return PoolRequests{first(waiting), len(waiting), first(running), len(running)}
}

func first(all []requests.View) []requests.View { return all[:min(len(all), statusRequests)] }

func showStatus(c *adminCall) error {
	return c.Answer(http.StatusOK, StatusOf(c.process, c.R.URL.Query()["pool"]))
}
