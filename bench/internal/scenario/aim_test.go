package scenario

import (
	"math"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

func sure(low, mid, high float64) stat.Interval {
	return stat.Interval{Low: low, Mid: mid, High: high, Sure: true}
}

func TestAims(t *testing.T) {
	var r Report
	r.AtMost("enough", 1.5, 1.5)
	r.AtMost("too much", 1.6, 1.5)
	r.AtLeast("reached", 2, 2)
	r.AtLeast("not reached", 1, 2)
	r.AtLeast("not measured", math.NaN(), 2)
	r.RatioAtMost("noise above", sure(1.04, 1.2, 1.3), 1.05, 0)
	r.RatioAtMost("surely above", sure(1.07, 1.2, 1.3), 1.05, 0)
	r.RatioAtMost("no pairs", stat.MedianInterval(nil, confidence), 1.05, 0)
	if r.Missed() != 3 || r.Undecided() != 1 {
		t.Errorf("%d missed, %d not decided, want 3 and 1", r.Missed(), r.Undecided())
	}
	text := r.String()
	for _, line := range []string{
		"met         enough: 1.50, aim <= 1.50", "MISSED      too much: 1.60, aim <= 1.50",
		"met         reached: 2, aim >= 2", "MISSED      not reached: 1, aim >= 2",
		"not decided noise above: 1.200 [1.040, 1.300]x, aim <= 1.05x", "MISSED      surely above",
	} {
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

func TestRatiosAreDecidedByTheirInterval(t *testing.T) {
	for name, c := range map[string]struct {
		got          stat.Interval
		limit, noise float64
		want         verdict
	}{
		"below":                        {sure(1.00, 1.01, 1.02), 1.03, 0, met},
		"above, within the tolerance":  {sure(1.03, 1.039, 1.045), 1.03, 0, met},
		"above the tolerance":          {sure(1.035, 1.042, 1.05), 1.03, 0, missed},
		"above, within the noise":      {sure(1.035, 1.042, 1.05), 1.03, 0.005, met},
		"noise that was not measured":  {sure(1.035, 1.042, 1.05), 1.03, math.NaN(), missed},
		"too wide":                     {sure(0.99, 1.00, 1.02), 1.03, 0, undecided},
		"too wide, all of it above":    {sure(1.80, 1.88, 1.96), 1.08, 0, missed},
		"too few rounds":               {stat.Interval{Low: 1, Mid: 1, High: 1}, 1.03, 0, undecided},
		"too few rounds, all of above": {stat.Interval{Low: 2, Mid: 2, High: 2}, 1.03, 0, undecided},
	} {
		t.Run(name, func(t *testing.T) {
			var r Report
			r.RatioAtMost("ratio", c.got, c.limit, c.noise)
			if got := r.aims[0].verdict; got != c.want {
				t.Errorf("verdict %q, want %q", got, c.want)
			}
			// The same on the other side.
			r.RatioAtLeast("ratio", sure(2-c.got.High, 2-c.got.Mid, 2-c.got.Low), 2-c.limit, c.noise)
			if got := r.aims[1].verdict; c.got.Sure && got != c.want {
				t.Errorf("at least: verdict %q, want %q", got, c.want)
			}
		})
	}
}

func TestDifferencesAreDecidedByTheNoise(t *testing.T) {
	for name, c := range map[string]struct {
		got   stat.Interval
		noise float64
		want  verdict
	}{
		"within":                    {sure(0, 0.09, 0.3), 0, met},
		"within the noise":          {sure(0, 0.14, 0.3), 0.05, met},
		"beyond the noise":          {sure(0, 0.16, 0.3), 0.05, missed},
		"noise not measured":        {sure(0, 0.16, 0.3), math.NaN(), missed},
		"only noise":                {sure(-1, 0.05, 1), 0.2, undecided},
		"noise, all of it is above": {sure(0.5, 0.6, 1), 0.2, missed},
		"too few rounds":            {stat.Interval{Low: 9, Mid: 9, High: 9}, 0, undecided},
	} {
		t.Run(name, func(t *testing.T) {
			var r Report
			r.DifferenceAtMost("delay", c.got, 0.1, c.noise)
			if got := r.aims[0].verdict; got != c.want {
				t.Errorf("verdict %q, want %q: %s", got, c.want, r.aims[0].text)
			}
		})
	}
	var r Report
	r.DifferenceAtMost("not measured", stat.MedianInterval(nil, confidence), 0.1, 0)
	if len(r.aims) != 0 {
		t.Errorf("aims %+v of what was not measured", r.aims)
	}
}

func TestLatenciesAreComparedWithEqualTargets(t *testing.T) {
	unsure := stat.Interval{Low: 1, Mid: 1, High: 1}
	for name, c := range map[string]struct {
		got, equals stat.Interval
		want        verdict
	}{
		"within":           {sure(0.9, 1.03, 1.2), sure(0.95, 1.01, 1.04), met},
		"within, below":    {sure(0.9, 1.045, 1.2), sure(0.95, 0.98, 1.01), met},
		"beyond":           {sure(1.0, 1.07, 1.2), sure(0.95, 1.01, 1.04), missed},
		"faster":           {sure(0.6, 0.7, 0.8), sure(0.95, 1.01, 1.04), met},
		"too few rounds":   {unsure, sure(0.95, 1.01, 1.04), undecided},
		"no equal targets": {sure(1, 1, 1), stat.MedianInterval(nil, confidence), undecided},
	} {
		t.Run(name, func(t *testing.T) {
			var r Report
			r.WithinSpread("p50", c.got, c.equals)
			if got := r.aims[0].verdict; got != c.want {
				t.Errorf("verdict %q, want %q: %s", got, c.want, r.aims[0].text)
			}
		})
	}
}

func TestIntervalsAreShownIfTheyAreSure(t *testing.T) {
	for want, i := range map[string]stat.Interval{
		"1.010 [1.000, 1.020]": sure(1, 1.01, 1.02),
		"1.010":                {Low: 1, Mid: 1.01, High: 1.02},
		"-":                    stat.MedianInterval(nil, confidence),
	} {
		if got := interval(i); got != want {
			t.Errorf("interval(%+v) = %q, want %q", i, got, want)
		}
	}
}
