package main

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// report holds all runs.
type report struct {
	Broker     string   `json:"broker"`
	Backend    string   `json:"backend"`
	Bystander  string   `json:"bystander"`
	Rounds     int      `json:"rounds"`
	LoadBefore string   `json:"load_before"` // of the machine; empty where it cannot be read
	LoadAfter  string   `json:"load_after"`
	Runs       []result `json:"runs"`
}

// play plays a round: all variants on both ways, one after the other.
func (r *report) play(ctx context.Context, s *stack, variants []variant) error {
	for _, v := range variants {
		for _, w := range ways {
			s.progress.Say("%s, %s:", v.title, w.name)
			one, err := s.play(ctx, v, w)
			if err != nil {
				return err
			}
			s.progress.Say("  %d of %d answered in %s", one.Completed, one.Requests, load.Human(time.Duration(one.WallS*float64(time.Second))))
			r.Runs = append(r.Runs, one)
		}
	}
	r.Rounds++
	r.LoadAfter = machineLoad()
	return nil
}

// newResult puts the figures of a run together.
func newResult(v variant, w way, wall time.Duration, blocking, ping load.Route) result {
	return result{
		Variant:   v.title,
		Path:      path(v, w),
		Way:       w.name,
		Requests:  clients * v.each(),
		WallS:     thousandths(wall.Seconds()),
		PerSecond: thousandths(float64(blocking.Completed) / wall.Seconds()),
		Route:     blocking,
		Ping:      ping,

		mustNotLose: v.proxy && w.name == "offload",
	}
}

// path is where Caddy has a variant.
func path(v variant, w way) string { return "/" + w.name + "/" + v.route }

// thousandths cuts off digits that mean nothing.
func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }

// lost counts the tasks that were called behind offload by the proxy itself and have no
// result.
func (r *report) lost() int {
	lost := 0
	for _, one := range r.Runs {
		if one.mustNotLose {
			lost += one.Lost
		}
	}
	return lost
}

// print writes the report in one of its forms.
func (r *report) print(w io.Writer, asJSON bool) error {
	if !asJSON {
		return r.table(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// machineLoad returns the load averages of the machine.
func machineLoad() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
