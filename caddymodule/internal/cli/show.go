package cli

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// shows are the commands that show pools.
func shows() []command {
	return []command{
		{
			use: "pools", short: "Lists the pools", args: cobra.NoArgs,
			run: showPools,
		},
		{
			use: "pool NAME", short: "Shows one pool with its settings and totals", args: cobra.ExactArgs(1), poolArg: true,
			run: showPool,
		},
		{
			use: "spool", short: "Shows the memory and disk space of bodies", args: cobra.NoArgs,
			run: showSpool,
		},
	}
}

func showPools(s *call) error {
	var answer struct{ Pools []pool }
	text, err := s.server.get("pools", &answer)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	if len(answer.Pools) == 0 {
		fmt.Fprintln(s.out, "no pools")
		return nil
	}
	t := newTable("POOL", "PHASE", ">RUNNING", ">WAITING", ">OLDEST", ">MEAN RUN", "BREAKER", ">ADMITTED", ">REJECTED", ">FAILED", "NOTES")
	for _, p := range answer.Pools {
		t.add(clean(p.Name), p.Phase, p.share(), fmt.Sprintf("%d/%d", p.Waiting, p.QueueLimit),
			brief(p.OldestWait), brief(p.MeanRun), p.Breaker,
			fmt.Sprint(p.Admitted), fmt.Sprint(sum(p.Rejected)), fmt.Sprint(p.Ended["failure"]), p.notes())
	}
	t.print(s.out)
	return nil
}

// orJSON prints the answer of a server as JSON.
func (s *call) orJSON(text []byte, err error) error {
	if err != nil {
		return err
	}
	return s.printJSON(text)
}

// notes lists the unusual facts about a pool.
func (p *pool) notes() string {
	notes := p.warmUp()
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

// breakerState returns the state of the breaker with its notes.
func (p *pool) breakerState() string {
	state := p.Breaker
	if p.BreakerForced {
		state += " (forced)"
	}
	return strings.Join(append([]string{state}, p.warmUp()...), ", ")
}

// overrides lists overridden settings, as in "concurrency 16 (configured 8)".
func (p *pool) overrides() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.Overridden)) {
		all = append(all, fmt.Sprintf("%s %s (configured %s)", name, p.Settings[name], p.Overridden[name]))
	}
	return all
}

func showPool(s *call) error {
	var p pool
	text, err := s.server.onPool(http.MethodGet, s.args[0], "", nil, &p)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	line := func(title, format string, args ...any) {
		fmt.Fprintf(s.out, "%-12s %s\n", title, fmt.Sprintf(format, args...))
	}
	line("pool", "%s", clean(p.Name))
	line("phase", "%s", p.Phase)
	line("running", "%s, %d abandoned, %d lingering, %d upgraded", p.share(), p.Abandoned, p.Lingering, p.Upgraded)
	order := "in order"
	if p.NewestFirst {
		order = "newest first"
	}
	line("waiting", "%d/%d, oldest %s, %s", p.Waiting, p.QueueLimit, brief(p.OldestWait), order)
	if p.Uploading > 0 {
		line("uploading", "%d", p.Uploading)
	}
	if p.Predecessors > 0 {
		line("predecessors", "%d in flight, with %d permits of this pool", p.Predecessors, p.Lent)
	}
	line("mean run", "%s", brief(p.MeanRun))
	line("breaker", "%s", p.breakerState())
	for _, name := range settings.Pool.Names() {
		configured := ""
		if was, ok := p.Overridden[name]; ok {
			configured = " (configured " + was + ")"
		}
		line(name, "%s%s", p.Settings[name], configured)
	}
	line("admitted", "%d", p.Admitted)
	line("left", "%d", p.Left)
	line("rejected", "%s", tally(p.Rejected))
	line("ended", "%s", tally(p.Ended))
	return nil
}
