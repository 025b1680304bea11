//go:build integration

package backends

import (
	"flag"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

var (
	all  = flag.Bool("backends.all", false, "measure all set-ups, not only the ordinary ones")
	anew = flag.Bool("backends.write", false, "measure all set-ups, and write docs/backends.json")
)

// resultFile is the source of the page's table.
const resultFile = "../../docs/backends.json"

// quickIdle is the longest idle time that is waited for with every change.
const quickIdle = 10 * time.Second

// The measurements of a server are those on the page. After a change of a set-up, write
// the file again:
//
//	.ci/backends --measure
func TestBackendsAreAsMeasured(t *testing.T) {
	known, err := measured.Read(resultFile)
	if err != nil && !*anew {
		t.Fatal(err)
	}
	commands := pythonCommands(t)
	var mu sync.Mutex
	rows := map[string]measured.Row{}
	t.Run("setups", func(t *testing.T) {
		for _, b := range setups {
			if !b.ordinary && !*all && !*anew {
				continue
			}
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				if !*anew {
					b.compare(t, known, commands)
					return
				}
				row := b.measure(t, commands)
				mu.Lock()
				rows[b.name] = row
				mu.Unlock()
			})
		}
	})
	if *anew {
		known = renewed(known, rows)
		if err := known.Write(resultFile); err != nil {
			t.Error(err)
		}
	}
}

// renewed returns a result with new rows, in the order of the set-ups. Rows that were not
// measured this time stay.
func renewed(known measured.Result, rows map[string]measured.Row) measured.Result {
	for _, old := range known.Rows {
		if _, ok := rows[old.Setup]; !ok {
			rows[old.Setup] = old
		}
	}
	result := measured.Result{Day: time.Now().Format(time.DateOnly)}
	for _, b := range setups {
		row, ok := rows[b.name]
		if !ok {
			row = measured.Row{Setup: b.name, Backend: b.kind, Missing: "the measurement failed"}
		}
		result.Rows = append(result.Rows, row)
	}
	return result
}

// measure measures the row of a set-up in the table.
func (b setup) measure(t *testing.T, commands string) measured.Row {
	t.Helper()
	row := measured.Row{Setup: b.name, Backend: b.kind}
	s, err := b.serve(t, commands, start{workers: 1})
	if err != nil {
		t.Errorf("%s: %v", b.name, err)
		row.Missing = "it could not be started"
		return row
	}
	row.Versions = readVersions(t, b.versions, commands)
	m := measurement{t, b, b.direct(t, s), s.journal}
	row.Stops, row.Overlap = m.leave()
	row.Waiting = m.waiting()
	row.Through = b.offloaded(t, commands)
	if *anew {
		b.measureChances(t, commands, &row)
	}
	limit := quickIdle
	if *all || *anew {
		limit = idleLimit
	}
	row.Idle = m.idle(limit)
	row.Blocked = m.blocked(row.Idle)
	return row
}

// measureChances measures values that vary between runs. Only the file has them.
func (b setup) measureChances(t *testing.T, commands string, row *measured.Row) {
	t.Helper()
	if b.recycle != "" {
		row.Recycled = b.recycled(t, commands)
	}
	if b.route == "block" {
		row.Fast = b.fast(t, commands)
	}
}

// direct is the way to a server without offload.
func (b setup) direct(t *testing.T, s *served) direct {
	t.Helper()
	if b.php {
		return direct{t, startProxy(t, s, "").addr, ""}
	}
	return direct{t, s.addr, b.root}
}

// recycled starts a separate server, whose workers end after some requests.
func (b setup) recycled(t *testing.T, commands string) *measured.Recycled {
	t.Helper()
	s, err := b.serve(t, commands, start{workers: 2, extra: b.recycle})
	if err != nil {
		t.Fatal(err)
	}
	return recycle(t, b.direct(t, s))
}

// offloaded starts a separate server, with one worker more than permits if its number of
// workers can be set.
func (b setup) offloaded(t *testing.T, commands string) measured.Through {
	t.Helper()
	block := pageCaddyfile(t, b.caddyfile())
	limit := limitOf(t, block)
	s, err := b.serve(t, commands, start{workers: limit + 1})
	if err != nil {
		t.Fatal(err)
	}
	return b.through(t, s, block)
}

// measurements is how often a set-up is measured before it counts as changed: what a server
// does within half a second is not seen on a machine that is busy with others for longer.
const measurements = 3

// compare compares new measurements of a set-up with the file.
func (b setup) compare(t *testing.T, known measured.Result, commands string) {
	t.Helper()
	i := slices.IndexFunc(known.Rows, func(r measured.Row) bool { return r.Setup == b.name })
	if i < 0 {
		t.Fatalf("%s is not in %s: write it anew", b.name, resultFile)
	}
	want := known.Rows[i]
	var got measured.Row
	for range measurements {
		if got = alike(b.measure(t, commands), want); reflect.DeepEqual(got, want) {
			return
		}
		t.Logf("%s is\n%+v", b.name, got)
	}
	t.Errorf("%s is\n%+v\nin each of %d measurements, and the page says\n%+v", b.name, got, measurements, want)
}

// alike returns a row without its differences in versions, in values that vary, and in times
// that were not waited for.
func alike(got, want measured.Row) measured.Row {
	switch {
	case got.Idle.Never > 0:
		got.Idle, got.Blocked = want.Idle, want.Blocked
	case math.Abs(got.Idle.Seconds-want.Idle.Seconds) <= 1+want.Idle.Seconds/4:
		got.Idle.Seconds = want.Idle.Seconds
	}
	got.Versions, got.Recycled, got.Fast, got.Through.Inside = want.Versions, want.Recycled, want.Fast, want.Through.Inside
	return got
}
