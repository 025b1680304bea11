package scenario

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

func TestNumbers(t *testing.T) {
	for want, x := range map[string]float64{
		"-": math.NaN(), "0": 0, "1234": 1234.4, "12.3": 12.34, "1.23": 1.234, "7": 7, "0.01": 0.0123,
	} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %q, want %q", x, got, want)
		}
	}
}

func TestFiguresLeaveOutWhatWasNotMeasured(t *testing.T) {
	f := make(figures)
	for _, value := range []float64{3, math.NaN(), 1, 2} {
		f.add(target.Caddy, "x", value)
	}
	if got := f.median(target.Caddy, "x"); got != 2 {
		t.Errorf("median %v, want 2", got)
	}
	if got := f.median(target.NGINX, "x"); !math.IsNaN(got) {
		t.Errorf("median of nothing %v, want NaN", got)
	}
}

func TestTally(t *testing.T) {
	got := tallyOf([]load.Sample{
		{Took: time.Millisecond, Status: 200},
		{Took: 2 * time.Millisecond, Status: 503},
		{Took: 3 * time.Millisecond},
		{Took: 4 * time.Millisecond, Status: 304},
	})
	if len(got.ok) != 2 || got.ok[1] != 4 || len(got.refused) != 1 || got.refused[0] != 2 || got.failed != 1 {
		t.Fatalf("tally %+v", got)
	}
}

func TestOverloadFigures(t *testing.T) {
	o := offer{duration: 4 * time.Second, settle: time.Second}
	samples := []load.Sample{
		{Start: 0, Took: 500 * time.Millisecond, Status: 200},                      // not in the steady part
		{Start: 900 * time.Millisecond, Took: 300 * time.Millisecond, Status: 200}, // answered in it
		{Start: 2 * time.Second, Took: 60 * time.Millisecond, Status: 200},
		{Start: 2 * time.Second, Took: time.Millisecond, Status: 503},
		{Start: 2 * time.Second, Took: 90 * time.Millisecond, Status: 503},
		{Start: 2 * time.Second, Took: time.Second},
		{Start: 3900 * time.Millisecond, Took: 200 * time.Millisecond, Status: 200}, // answered after it
	}
	f := make(figures)
	f.overloaded(target.Offload, samples, o)
	for figure, want := range map[string]float64{
		"goodput": 4 / 4.0 / overloadCapacity, "steady": 2 / 3.0 / overloadCapacity,
		"p99": 60, "p99 of all": 500, "failed": 1, "refused": 2,
		"refusal p99": 90, "on arrival": 1, "on arrival p50": 1,
	} {
		if got := f.median(target.Offload, figure); got != want {
			t.Errorf("%s = %v, want %v", figure, got, want)
		}
	}
}

// Goodput is compared with the best of the other proxies.
func TestOverloadIsComparedWithTheBestPeer(t *testing.T) {
	f := make(figures)
	for name, steady := range map[target.Name]float64{target.HAProxy: 1, target.NGINX: 0.95, target.Caddy: 2, target.Offload: 0.985} {
		f.add(name, "steady", steady)
	}
	var r Report
	r.overloadAims(offer{factor: 1, queue: 64}, f)
	if len(r.aims) != 1 || r.aims[0].verdict != missed {
		t.Fatalf("aims %+v, want a miss against haproxy alone", r.aims)
	}
	var alone Report
	delete(f, target.HAProxy)
	delete(f, target.NGINX)
	alone.overloadAims(offer{factor: 1, queue: 64}, f)
	if len(alone.aims) != 0 {
		t.Fatalf("aims %+v without a peer", alone.aims)
	}
}

func TestInterleaveGoesBackAndForth(t *testing.T) {
	env := &Env{Rounds: 2, Log: io.Discard, failed: make(map[target.Name]error)}
	var order []target.Name
	err := env.interleave(t.Context(), []target.Name{"a", "b", "c"}, func(_ context.Context, name target.Name) error {
		order = append(order, name)
		if name == "b" {
			return errors.New("broken")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []target.Name{"a", "b", "c", "c", "a"} // b is left out after it has failed
	if len(order) != len(want) {
		t.Fatalf("order %v, want %v", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("order %v, want %v", order, want)
		}
	}
	if env.failed["b"] == nil {
		t.Fatal("the failure of b was not noted")
	}
}

func TestInterleaveStopsWhenInterrupted(t *testing.T) {
	env := &Env{Rounds: 2, Log: io.Discard, failed: make(map[target.Name]error)}
	ctx, cancel := context.WithCancel(t.Context())
	err := env.interleave(ctx, []target.Name{"a", "b"}, func(context.Context, target.Name) error {
		cancel()
		return errors.New("killed")
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the interruption", err)
	}
}

func TestFailedBuildIsAnError(t *testing.T) {
	env := &Env{Root: ".", Dir: t.TempDir(), Log: io.Discard}
	if _, err := env.Build(t.Context(), "program", "./no-such-folder"); err == nil {
		t.Fatal("no error")
	}
}

func TestFind(t *testing.T) {
	all, err := Find(nil)
	if err != nil || len(all) != len(All()) {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	some, err := Find([]string{"sse", "s1"})
	if err != nil || len(some) != 2 || some[0].Name != "sse" || some[1].Name != "s1" {
		t.Fatalf("%v, %v", some, err)
	}
	if _, err := Find([]string{"s6"}); err == nil {
		t.Fatal("an unknown scenario: no error")
	}
}

func TestOnlyChosenTargets(t *testing.T) {
	env := &Env{Only: []target.Name{target.Offload, target.Caddy}}
	got := env.chosen([]target.Name{target.Caddy, target.NGINX, target.Offload})
	if len(got) != 2 || got[0] != target.Caddy || got[1] != target.Offload {
		t.Fatalf("chosen %v", got)
	}
}
