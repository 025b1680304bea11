package statuspage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/extratable"
)

// poolRow is a pool in one line. Its fields are what the page shows.
type poolRow struct {
	Name string `json:"name"`
	// Tone is the colour of the state: idle, good, busy or bad.
	Tone  string `json:"tone"`
	State string `json:"state"`

	Running     string `json:"running"`
	RunningPart int    `json:"runningPart"` // percent
	Waiting     string `json:"waiting"`
	WaitingPart int    `json:"waitingPart"`
	Oldest      string `json:"oldest"`
	WaitP95     string `json:"waitP95"`
	MeanRun     string `json:"meanRun"`
	Admitted    string `json:"admitted"`
	Rejected    string `json:"rejected"`
	// BreakerNote says what the breaker does next; empty for one that is closed by its rules.
	BreakerNote string `json:"breakerNote"`
	Notes       string `json:"notes"`
}

// bar is a number that is drawn as a bar.
type bar struct {
	Field   string // with the number
	Percent int
}

// RunningBar is the bar of the permits that are taken.
func (r poolRow) RunningBar() bar { return bar{"runningPart", r.RunningPart} }

// WaitingBar is the bar of the places that are taken.
func (r poolRow) WaitingBar() bar { return bar{"waitingPart", r.WaitingPart} }

// rowOf describes a pool.
func (m *moment) rowOf(p *admin.PoolStatus) poolRow {
	r := m.rates[p.Pool.Name]
	row := poolRow{
		Name:    p.Pool.Name,
		Running: sharePermits(p), RunningPart: percent(p.Pool.Running, permitsOf(p)),
		Waiting: fmt.Sprintf("%d / %d", p.Pool.Waiting, p.Pool.QueueLimit), WaitingPart: percent(p.Pool.Waiting, p.Pool.QueueLimit),
		Oldest: brief(p.Pool.OldestWait), WaitP95: quantile(r.waits, .95), MeanRun: brief(p.Pool.MeanRun),
		Admitted: none, Rejected: none,
		Notes: strings.Join(notesOf(p), ", "),
	}
	if closed := p.Pool.Breaker == "closed" && !p.Pool.BreakerForced; !closed && p.Pool.Breaker != "off" {
		row.BreakerNote = "breaker " + breakerOf(p)
	}
	if r.known {
		row.Admitted, row.Rejected = rate(r.admitted), rate(r.rejectedRate())
	}
	row.Tone, row.State = stateOf(p, r)
	return row
}

// permitsOf returns the permits that runs can hold, zero without a limit.
func permitsOf(p *admin.PoolStatus) int {
	if p.Pool.Concurrency == 0 {
		return 0
	}
	return max(p.Pool.Permits, 1)
}

// sharePermits returns the runs and the permits, which may be none while all are lent.
func sharePermits(p *admin.PoolStatus) string {
	if p.Pool.Concurrency > 0 {
		return fmt.Sprintf("%d / %d", p.Pool.Running, p.Pool.Permits)
	}
	return share(p.Pool.Running, 0)
}

// stateOf returns the state of a pool, the most urgent one if there are several, and its
// colour.
func stateOf(p *admin.PoolStatus, r rates) (tone, state string) {
	switch pool := p.Pool; {
	case pool.Breaker == "open":
		return "bad", "breaker open"
	case pool.Phase == "closed":
		return "bad", "closed"
	case pool.Phase == "draining":
		return "busy", "draining"
	case pool.Phase == "paused":
		return "busy", "paused"
	case pool.Breaker == "half_open":
		return "busy", "probing"
	case r.rejecting:
		return "bad", "rejecting"
	case pool.WarmingUp > 0:
		return "busy", "warming up"
	case pool.Waiting > 0:
		return "busy", "queueing"
	case pool.Running > 0:
		return "good", "serving"
	}
	return "idle", "idle"
}

// breakerOf describes the state of the breaker, and when it changes.
func breakerOf(p *admin.PoolStatus) string {
	text := strings.ReplaceAll(p.Pool.Breaker, "_", "-")
	switch {
	case p.Pool.BreakerForced:
		return text + ", forced"
	case p.Pool.BreakerHeld > 0:
		text += fmt.Sprintf(", %d held", p.Pool.BreakerHeld)
	}
	switch {
	case p.Pool.ProbesIn > 0:
		text += ", probes in " + brief(p.Pool.ProbesIn)
	case p.Pool.Breaker == "half_open":
		text += ", a probe decides"
	}
	return text
}

// notesOf lists the unusual facts about a pool.
func notesOf(p *admin.PoolStatus) []string {
	var notes []string
	switch pool := p.Pool; {
	case pool.WarmingUp > 0 && pool.Concurrency > 0:
		notes = append(notes, fmt.Sprintf("warming up, %d of %d", pool.WarmingUp, pool.Concurrency))
	case pool.WarmingUp > 0:
		notes = append(notes, fmt.Sprintf("warming up, %d", pool.WarmingUp))
	}
	if p.Pool.NewestFirst {
		notes = append(notes, "newest first")
	}
	for _, of := range []struct {
		n    int
		what string
	}{
		{p.Pool.Abandoned, "abandoned"},
		{p.Pool.Lingering, "lingering"},
		{p.Pool.Uploading, "uploading"},
		{p.Pool.Unspooled, "unspooled"},
		{p.Pool.Predecessors, "in predecessors"},
		{int(p.Pool.Upgraded), "upgraded"},
	} {
		if of.n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return append(notes, overridesOf(p)...)
}

// overridesOf lists overridden settings, as in "concurrency 16 (configured 8)".
func overridesOf(p *admin.PoolStatus) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.Pool.Overridden)) {
		all = append(all, fmt.Sprintf("%s %v (configured %s)", name, p.Pool.Settings[name], p.Pool.Overridden[name]))
	}
	return all
}

// overview has the numbers of all pools together.
type overview struct {
	Pools    string `json:"pools"`
	Running  string `json:"running"`
	Waiting  string `json:"waiting"`
	Admitted string `json:"admitted"`
	Rejected string `json:"rejected"`
}

func (m *moment) overview() overview {
	o := overview{Pools: fmt.Sprintf("%d pools", len(m.Pools)), Admitted: rate(m.all.admitted), Rejected: rate(m.all.rejectedRate())}
	if len(m.Pools) == 1 {
		o.Pools = "1 pool"
	}
	running, waiting, known := 0, 0, false
	for i := range m.Pools {
		running += m.Pools[i].Pool.Running
		waiting += m.Pools[i].Pool.Waiting
		known = known || m.rates[m.Pools[i].Pool.Name].known
	}
	o.Running, o.Waiting = count(uint64(max(0, running))), count(uint64(max(0, waiting)))
	if !known {
		o.Admitted, o.Rejected = none, none
	}
	return o
}

// rows describes all pools.
func (m *moment) rows() []poolRow {
	all := []poolRow{}
	for i := range m.Pools {
		all = append(all, m.rowOf(&m.Pools[i]))
	}
	return all
}

// spool returns the lines of the table of spools: a title, then usage and limit for
// requests, and for responses.
func (m *moment) spool() [][]string {
	s := m.Spool
	return [][]string{
		{"memory", of(s.Requests.Memory, s.Requests.MemoryLimit), of(s.Responses.Memory, s.Responses.MemoryLimit)},
		{"disk", of(s.Requests.Disk, s.Requests.DiskLimit), of(s.Responses.Disk, s.Responses.DiskLimit)},
		{"uploads", fmt.Sprintf("%d / %d", s.Usage.Uploads, s.Limits.Uploads), none},
	}
}

func of(used, limit int64) string { return size(used) + " / " + size(limit) }

// tables are those of other plugins.
func (m *moment) tables() []extratable.Table {
	if m.Tables == nil {
		return []extratable.Table{}
	}
	return m.Tables
}

// names lists the pools in their order.
func (m *moment) names() []string {
	all := []string{}
	for i := range m.Pools {
		all = append(all, m.Pools[i].Pool.Name)
	}
	return all
}
