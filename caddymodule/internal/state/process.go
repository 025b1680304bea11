// Package state has the state of the process: everything that outlives configurations, so
// that the next configuration continues with it after a reload.
package state

import (
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/discard"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Process is the state of the process. Package caddymodule has the only one of a program;
// tests create others, which share nothing with it.
type Process struct {
	// Pools are the pools of all configurations.
	Pools *pools.Table
	// Upstreams counts the permits of upstreams for all pools.
	Upstreams *offloader.Upstreams
	// Exit is the end of the process.
	Exit *pools.Exit

	// Budget bounds all spools together, with the limits of the last lease in BudgetLeases.
	Budget       *spool.Budget
	BudgetLeases pools.Leases[spool.Limits]

	// Discarder discards the rest of uploads whose requests were answered before their end.
	Discarder *discard.Discarder

	// Explained has the last requests that were not served as usual, of all pools. Its size
	// is the last lease in ExplainLeases.
	Explained     *requests.Explanations
	ExplainLeases pools.Leases[int]
}

// NewProcess returns the state of a process without configurations.
func NewProcess() *Process {
	upstreams := offloader.NewUpstreams()
	p := &Process{
		Pools:     pools.NewTable(upstreams),
		Upstreams: upstreams,
		Exit:      pools.NewExit(),
		Budget:    spool.NewBudget(spool.DefaultLimits()),
		Discarder: discard.New(discard.DefaultBounds()),
		Explained: requests.NewExplanations(requests.DefaultExplain),
	}
	p.Pools.Rejecting = requests.Temporary
	p.BudgetLeases.Apply = p.Budget.Configure
	p.ExplainLeases.Apply = p.Explained.Resize
	return p
}
