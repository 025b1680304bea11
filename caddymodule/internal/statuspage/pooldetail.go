package statuspage

import (
	"fmt"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// fact is a title with its value.
type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// poolDetail is the page of one pool.
type poolDetail struct {
	Row poolRow `json:"row"`
	// Times has lines with a title, three quantiles of the waits, and three of the runs.
	Times    [][]string `json:"times"`
	Facts    []fact     `json:"facts"`
	Settings []fact     `json:"settings"`
	// Overridden is true if a setting is.
	Overridden bool `json:"overridden"`
	// Upstreams are lines of a name, whether it is available, and its permits; none in a
	// pool that does not count them.
	Upstreams [][]string `json:"upstreams"`
	Waiting   list       `json:"waiting"`
	Running   list       `json:"running"`
}

// list has the first requests of a pool, one row of cells for each. More is the number of
// further ones.
type list struct {
	Title string     `json:"title"`
	Rows  [][]string `json:"rows"`
	More  string     `json:"more"`
}

// detailOf describes a pool, and reports whether there is one of that name.
func (m *moment) detailOf(name string) (d poolDetail, ok bool) {
	p := m.find(name)
	if p == nil {
		return d, false
	}
	r := m.rates[name]
	in := m.Requests[name]
	return poolDetail{
		Row: m.rowOf(p),
		Times: [][]string{
			timesLine("last 2 minutes", r.waits, r.runs),
			timesLine("since start", p.Waits, p.Runs),
		},
		Facts: factsOf(p), Settings: settingsOf(p), Overridden: len(p.Pool.Overridden) > 0, Upstreams: upstreamsOf(p),
		Waiting: listOf("Waiting", in.Waiting, in.WaitingTotal, waitingLine),
		Running: listOf("Running", in.Running, in.RunningTotal, runningLine),
	}, true
}

func (m *moment) find(name string) *admin.PoolStatus {
	for i := range m.Pools {
		if m.Pools[i].Pool.Name == name {
			return &m.Pools[i]
		}
	}
	return nil
}

func timesLine(title string, waits, runs pools.Distribution) []string {
	line := []string{title}
	for _, d := range []pools.Distribution{waits, runs} {
		for _, q := range []float64{.5, .95, .99} {
			line = append(line, quantile(d, q))
		}
	}
	return line
}

func factsOf(p *admin.PoolStatus) []fact {
	order := "first come, first served"
	if p.Pool.NewestFirst {
		order = "newest first, since the queue is too long to be served in time"
	}
	all := []fact{
		{"admission", admissionOf(p.Pool.Phase)},
		{"breaker", breakerOf(p)},
		{"order now", order},
		{"most running, since start", fmt.Sprint(p.Pool.RunningMax)},
		{"most waiting, since start", fmt.Sprint(p.Pool.WaitingMax)},
		{"mean run", brief(p.Pool.MeanRun)},
		{"admitted", count(p.Pool.Admitted)},
		{"rejected", tally(p.Pool.Rejected)},
		{"left while waiting", count(p.Pool.Left)},
		{"ended", tally(p.Pool.Ended)},
	}
	for _, c := range p.Pool.Classes {
		all = append(all, fact{
			"class " + c.Name,
			fmt.Sprintf("%d running, %d waiting, weight %d, %d admitted, %d rejected", c.Running, c.Waiting, c.Weight, c.Admitted, c.Rejected),
		})
	}
	for _, note := range notesOf(p) {
		all = append(all, fact{"note", note})
	}
	return all
}

// admissionOf describes a phase of a pool's life.
func admissionOf(phase string) string {
	switch phase {
	case "paused":
		return "paused: new requests wait, and none starts"
	case "draining":
		return "draining: new requests are rejected, admitted ones finish"
	case "closed":
		return "closed"
	}
	return "admitting" // a breaker is open, or closed
}

func settingsOf(p *admin.PoolStatus) []fact {
	var all []fact
	for _, name := range settings.Pool.Names() {
		value := fmt.Sprint(p.Pool.Settings[name])
		if was, ok := p.Pool.Overridden[name]; ok {
			value += " (configured " + was + ")"
		}
		all = append(all, fact{name, value})
	}
	return all
}

func upstreamsOf(p *admin.PoolStatus) [][]string {
	all := [][]string{}
	for _, u := range p.Pool.Upstreams {
		available := "no"
		if u.Available {
			available = "yes"
		} else if u.Breaker == "open" {
			available = "no, its breaker is open"
		}
		all = append(all, []string{u.Name, available, share(u.Running, u.Limit)})
	}
	return all
}

func listOf(title string, all []requests.View, total int, line func(requests.View) []string) list {
	l := list{Title: fmt.Sprintf("%s: %d", title, total), Rows: [][]string{}}
	for _, r := range all {
		l.Rows = append(l.Rows, line(r))
	}
	if more := total - len(all); more > 0 {
		l.More = fmt.Sprintf("and %d more", more)
	}
	return l
}

// waitingLine and runningLine end with the ID, which the page shows and uses to cancel the
// request.

func waitingLine(r requests.View) []string {
	return []string{fmt.Sprint(r.Position), brief(r.InPhase), r.Client, r.Method + " " + r.Host + r.Path, claimOf(r), r.ID}
}

func runningLine(r requests.View) []string {
	return []string{phaseOf(r), brief(r.InPhase), r.Client, r.Method + " " + r.Host + r.Path, claimOf(r), r.ID}
}

// claimOf describes the claim of a request: its class, its key if it has one, and its cost
// if that is above one permit.
func claimOf(r requests.View) string {
	text := r.Class
	if r.Key != "" {
		text += ", key " + r.Key
	}
	if r.Cost > 1 {
		text += fmt.Sprintf(", %d permits", r.Cost)
	}
	return text
}

// phaseOf describes how far a request has come.
func phaseOf(r requests.View) string {
	text := r.Phase.String()
	if r.Abandoned {
		text = "abandoned"
		if r.Reason != "" {
			text += ": " + r.Reason
		}
	}
	if r.Unspooled != "" {
		text += ", unspooled " + r.Unspooled
	}
	return text
}
