package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// example is a report in the form of the demo.
func example() (*report, []*scene) {
	s := &scene{key: "slow", title: "slow thing", permits: 8, service: 200 * time.Millisecond}
	without := s.result(15*time.Second,
		load.Route{Completed: 30, Lost: 470, Errors: map[string]int{load.GaveUp: 200, load.NeverSent: 270}, Latencies: load.Latencies{P50: 5000, P95: 5000, P99: 5000, Max: 5001}},
		load.Route{Completed: 5, Lost: 745, Errors: map[string]int{load.GaveUp: 745}, Latencies: load.Latencies{P50: 5000, P95: 5000, P99: 5000, Max: 5002}})
	with := s.result(12750*time.Millisecond,
		load.Route{Completed: 500, Latencies: load.Latencies{P50: 2500, P95: 2600, P99: 2610, Max: 2620}},
		load.Route{Completed: 630, Latencies: load.Latencies{P50: 0.5, P95: 1.2, P99: 2.5, Max: 12}})
	return &report{
		OK:          true,
		Unprotected: map[string]result{"slow": without},
		Protected:   map[string]result{"slow": with},
	}, []*scene{s}
}

func TestTable(t *testing.T) {
	t.Parallel()
	r, scenes := example()
	var b strings.Builder
	if err := r.table(&b, scenes); err != nil {
		t.Fatal(err)
	}
	want := `
Slow thing: 100 clients x 5 requests of 200 ms each, 8 permits

                                      without offload     with offload
  blocking route answered                   30 of 500       500 of 500
    client gave up                                200                -
    never sent                                    270                -
    p50                                        5.00 s           2.50 s
    p95                                        5.00 s           2.60 s
    p99                                        5.00 s           2.61 s
    max                                        5.00 s           2.62 s
  fast route answered                        5 of 750       630 of 630
    client gave up                                745                -
    p50                                        5.00 s           0.5 ms
    p95                                        5.00 s           1.2 ms
    p99                                        5.00 s           2.5 ms
    max                                        5.00 s            12 ms
  wall time                                    15.0 s           12.8 s
  ideal                                        12.5 s           12.5 s
  time for each answer / ideal                 20.00x            1.02x

  The fast route's p99 is 2000 times better.

Nothing was lost with offload.
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestLostRequestsFailTheReport(t *testing.T) {
	t.Parallel()
	r, scenes := example()
	if r.lost() != 0 {
		t.Errorf("%d lost although only the unprotected run lost any", r.lost())
	}
	hurt := r.Protected["slow"]
	hurt.Completed, hurt.Lost, hurt.Fast.Lost = 499, 1, 2
	r.Protected["slow"] = hurt
	var b strings.Builder
	if err := r.table(&b, scenes); err != nil || r.lost() != 3 || !strings.Contains(b.String(), "FAILED: 3 requests") {
		t.Errorf("%d lost, %v:\n%s", r.lost(), err, &b)
	}
}

func TestNothingAnswered(t *testing.T) {
	t.Parallel()
	s := &scene{title: "dead thing", permits: 1, service: time.Second}
	nothing := s.result(time.Second, load.Route{Lost: 500}, load.Route{})
	if nothing.Ratio != 0 {
		t.Errorf("ratio %v of nothing", nothing.Ratio)
	}
	var b strings.Builder
	s.table(&b, nothing, nothing)
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "times better") {
		t.Errorf("a table of nothing:\n%s", &b)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r, _ := example()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"ok", "unprotected.slow.completed", "unprotected.slow.lost", "unprotected.slow.errors.never sent",
		"protected.slow.blocking.p50_ms", "protected.slow.blocking.max_ms",
		"protected.slow.fast.p95_ms", "protected.slow.fast.p99_ms", "protected.slow.fast.lost",
		"protected.slow.wall_s", "protected.slow.ideal_s", "protected.slow.ratio",
	} {
		var node any = tree
		for key := range strings.SplitSeq(path, ".") {
			object, _ := node.(map[string]any)
			node = object[key]
		}
		if node == nil {
			t.Errorf("no %s in %s", path, text)
		}
	}
}
