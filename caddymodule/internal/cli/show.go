package cli

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/columns"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/top"
)

// shows are the commands that show pools.
func shows() []command {
	return []command{
		{
			use: "pools", short: "Lists the pools", args: cobra.NoArgs,
			long: `
Lists the pools with what runs and waits, and their limits. On a terminal the columns
that do not fit are left out, the least important first; "top" scrolls.` + legend,
			run: showPools,
		},
		{
			use: "pool NAME", short: "Shows one pool with its settings and totals", args: cobra.ExactArgs(1), poolArg: true,
			run: showPool,
		},
		{
			use: "spool", short: "Shows how much memory and disk space request and response bodies use", args: cobra.NoArgs,
			run: showSpool,
		},
	}
}

func showPools(s *call) error {
	var answer struct{ Pools []pool }
	text, err := s.Server.Get("pools", &answer)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	if len(answer.Pools) == 0 {
		fmt.Fprintln(s.Out, "no pools")
		return nil
	}
	width := admincommand.Terminal(s.Out)
	t := columns.New(
		columns.Column{Title: "POOL", Least: 16}, columns.Column{Title: "PHASE", Rank: 5},
		columns.Column{Title: "RUNNING", Number: true}, columns.Column{Title: "WAITING", Number: true},
		columns.Column{Title: "OLDEST", Number: true, Rank: 6}, columns.Column{Title: "MEAN RUN", Number: true, Rank: 7},
		columns.Column{Title: "BREAKER", Rank: 1}, columns.Column{Title: "ADMITTED", Number: true, Rank: 8},
		columns.Column{Title: "REJECTED", Number: true, Rank: 3}, columns.Column{Title: "FAILED", Number: true, Rank: 4},
		columns.Column{Title: "NOTES", Rank: 2, Least: 20},
	)
	for _, p := range answer.Pools {
		breaker := p.breakerOrHold()
		if width > 0 && os.Getenv("NO_COLOR") == "" {
			breaker = top.Paint(p.level(), breaker)
		}
		t.Add(admincommand.Clean(p.Name), p.phase(), p.share(), fmt.Sprintf("%d/%d", p.Waiting, p.QueueLimit),
			admincommand.Brief(p.OldestWait), admincommand.Brief(p.MeanRun), breaker,
			fmt.Sprint(p.Admitted), fmt.Sprint(figures.Sum(p.Rejected)), fmt.Sprint(p.Ended["failure"]), p.notes())
	}
	admincommand.PrintLines(s.Out, t.Lines(width))
	return nil
}

// phaseOpen is the phase of a pool that admits requests.
const phaseOpen = "open"

// phase returns the name of the phase. It replaces "open", which is shown near the state of
// the breaker, where it means the opposite.
func (p *pool) phase() string {
	if p.Phase == phaseOpen {
		return "admitting"
	}
	return p.Phase
}

// level returns how much attention the pool needs.
func (p *pool) level() top.Level {
	switch {
	case p.Breaker == "open":
		return top.Broken
	case p.Phase != phaseOpen || p.Breaker == "half_open":
		return top.Halted
	case p.Waiting > 0 || p.WarmingUp > 0:
		return top.Busy
	}
	return top.Calm
}

// legend explains the words of the columns BREAKER and NOTES.
const legend = `

BREAKER has the state of the breaker, or "holding" while requests wait until it has
closed. Unusual facts in NOTES:
  shadow               requests are let through whatever the pool decides: "mode shadow"
  warming up, 1 of 3   the breaker has closed: 1 new run at once for now, rising to 3
  breaker forced       by "breaker NAME open" or "closed"
  newest first         the queue is too long to be served in order
  2 abandoned          runs that go on without their callers, and hold permits
  1 lingering          permits of cancelled runs, kept for "linger"
  2 uploading          requests whose body is being read
  1 unspooled          runs whose request bodies are passed on as they arrive
  3 in predecessors    requests in pools that this one has replaced after a reload
  3 upgraded           connections that have left the pool and go on
  queue 5 (configured 9)   an overridden setting`

// notes lists the unusual facts about a pool.
func (p *pool) notes() string {
	notes := p.warmUp()
	if p.Mode == "shadow" {
		notes = append(notes, "shadow")
	}
	if p.BreakerForced {
		notes = append(notes, "breaker forced")
	}
	if p.NewestFirst {
		notes = append(notes, "newest first")
	}
	for _, of := range []struct {
		n    int
		what string
	}{{p.Abandoned, "abandoned"}, {p.Lingering, "lingering"}, {p.Uploading, "uploading"}, {p.Unspooled, "unspooled"}, {p.Predecessors, "in predecessors"}, {p.Upgraded, "upgraded"}} {
		if of.n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return strings.Join(append(notes, p.overrides()...), ", ")
}

// warmUp returns the limit of new runs while the pool warms up, after the breaker has
// closed.
func (p *pool) warmUp() []string {
	switch {
	case p.WarmingUp == 0:
		return nil
	case p.Concurrency == 0:
		return []string{fmt.Sprintf("warming up, %d", p.WarmingUp)}
	}
	return []string{fmt.Sprintf("warming up, %d of %d", p.WarmingUp, p.Concurrency)}
}

// breakerOrHold returns the state of the breaker, or that it makes callers wait.
func (p *pool) breakerOrHold() string {
	if p.BreakerHeld > 0 {
		return "holding"
	}
	return p.Breaker
}

// breakerState returns the state of the breaker with its notes.
func (p *pool) breakerState() string {
	state := p.Breaker
	if p.BreakerForced {
		state += " (forced)"
	}
	parts := append([]string{state}, p.warmUp()...)
	if p.HoldEndsIn > 0 {
		parts = append(parts, fmt.Sprintf("%d held, for %s at most", p.BreakerHeld, admincommand.Brief(p.HoldEndsIn)))
	}
	return strings.Join(parts, ", ")
}

// overrides lists overridden settings, as in "concurrency 16 (configured 8)".
func (p *pool) overrides() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.Overridden)) {
		all = append(all, fmt.Sprintf("%s %s (configured %s)", name, p.Settings[name], p.Overridden[name]))
	}
	return all
}

// queue returns the number of waiting requests, and the order in which they are served.
func (p *pool) queue() string {
	text := fmt.Sprintf("%d/%d", p.Waiting, p.QueueLimit)
	switch {
	case p.Waiting == 0:
		return text
	case p.NewestFirst:
		return text + ", oldest " + admincommand.Brief(p.OldestWait) + ", newest first"
	}
	return text + ", oldest " + admincommand.Brief(p.OldestWait) + ", in order"
}

func showPool(s *call) error {
	var p pool
	text, err := s.onPool(http.MethodGet, s.Args[0], "", nil, &p)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	line := func(title, format string, args ...any) {
		fmt.Fprintf(s.Out, "%-20s %s\n", title, fmt.Sprintf(format, args...))
	}
	line("pool", "%s", admincommand.Clean(p.Name))
	line("phase", "%s", p.phase())
	line("running", "%s, %d abandoned, %d lingering, %d upgraded", p.share(), p.Abandoned, p.Lingering, p.Upgraded)
	if p.Seeking > 0 {
		line("seeking", "%d of these wait for an upstream", p.Seeking)
	}
	line("waiting", "%s", p.queue())
	if p.Uploading > 0 {
		line("uploading", "%d", p.Uploading)
	}
	if p.Predecessors > 0 {
		line("predecessors", "%d in flight, with %d permits of this pool", p.Predecessors, p.Lent)
	}
	line("mean run", "%s", admincommand.Brief(p.MeanRun))
	line("breaker", "%s", p.breakerState())
	for _, name := range settings.Pool.Names() {
		configured := ""
		if was, ok := p.Overridden[name]; ok {
			configured = " (configured " + was + ")"
		}
		line(name, "%s%s", p.Settings[name], configured)
	}
	for _, c := range p.Classes {
		line("class", "%s: %d running, %d waiting, %d admitted, %d rejected", admincommand.Clean(c.Name), c.Running, c.Waiting, c.Admitted, c.Rejected)
	}
	line("admitted", "%d", p.Admitted)
	line("left", "%d", p.Left)
	line("rejected", "%s", tally(p.Rejected))
	line("ended", "%s", tally(p.Ended))
	p.printUpstreams(s.Out)
	return nil
}

// printUpstreams prints a table of the upstreams, if the pool counts their permits.
func (p *pool) printUpstreams(w io.Writer) {
	if len(p.Upstreams) == 0 {
		return
	}
	t := admincommand.NewTable("UPSTREAM", "AVAILABLE", "BREAKER", ">RUNNING", ">WEIGHT")
	for _, u := range p.Upstreams {
		available := "no"
		if u.Available {
			available = "yes"
		}
		t.Add(admincommand.Clean(u.Name), available, admincommand.Clean(u.Breaker), fmt.Sprintf("%d/%d", u.Running, u.Limit), fmt.Sprint(u.Weight))
	}
	fmt.Fprintln(w)
	t.Print(w)
}
