package scenario

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

func TestAims(t *testing.T) {
	var r Report
	r.AtMost("enough", 1.5, 1.5)
	r.AtMost("too much", 1.6, 1.5)
	r.AtLeast("reached", 2, 2)
	r.AtLeast("not reached", 1, 2)
	r.AtLeast("not measured", math.NaN(), 2)
	r.RatioAtMost("noise above", stat.Bounds{Low: 1.04, Mid: 1.2, High: 1.3}, 1.05)
	r.RatioAtMost("equal in two digits", stat.Bounds{Low: 1.0049, Mid: 1.2, High: 1.3}, 1)
	r.RatioAtMost("surely above", stat.Bounds{Low: 1.06, Mid: 1.2, High: 1.3}, 1.05)
	r.RatioAtMost("no pairs", stat.MedianBounds(nil, 0.9), 1.05)
	if r.Missed() != 3 {
		t.Errorf("%d missed, want 3", r.Missed())
	}
	text := r.String()
	for _, line := range []string{"met    enough", "MISSED too much", "met    reached", "MISSED not reached", "met    noise above", "met    equal in two digits", "MISSED surely above"} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing:\n%s", line, text)
		}
	}
	for _, line := range []string{"not measured", "no pairs"} {
		if strings.Contains(text, line) {
			t.Errorf("%q is there:\n%s", line, text)
		}
	}
}

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
	duration := 4 * time.Second
	samples := []load.Sample{
		{Start: 0, Took: 500 * time.Millisecond, Status: 200}, // not in the steady part
		{Start: 2 * time.Second, Took: 60 * time.Millisecond, Status: 200},
		{Start: 2 * time.Second, Took: time.Millisecond, Status: 503},
		{Start: 2 * time.Second, Took: 90 * time.Millisecond, Status: 503},
		{Start: 2 * time.Second, Took: time.Second},
	}
	f := make(figures)
	f.overloaded(target.Offload, samples, duration)
	for figure, want := range map[string]float64{
		"goodput": 2 / 4.0 / overloadCapacity, "p99": 60, "p99 of all": 500, "failed": 1, "refused": 2,
		"refusal p99": 90, "on arrival": 1, "on arrival p50": 1,
	} {
		if got := f.median(target.Offload, figure); got != want {
			t.Errorf("%s = %v, want %v", figure, got, want)
		}
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

func TestFind(t *testing.T) {
	all, err := Find(nil)
	if err != nil || len(all) != len(All()) {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	some, err := Find([]string{"sse", "s1"})
	if err != nil || len(some) != 2 || some[0].Name != "sse" || some[1].Name != "s1" {
		t.Fatalf("%v, %v", some, err)
	}
	if _, err := Find([]string{"s9"}); err == nil {
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
