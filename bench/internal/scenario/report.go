package scenario

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

// Report is the text of a result: tables, notes and aims, in this order.
type Report struct {
	tables strings.Builder
	notes  []string
	aims   []aim
}

// Textf adds a line between the tables.
func (r *Report) Textf(format string, args ...any) {
	fmt.Fprintf(&r.tables, format+"\n", args...)
}

// Notef adds a note below the tables.
func (r *Report) Notef(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// Table adds a table. Each row has as many cells as the header.
func (r *Report) Table(header []string, rows [][]string) {
	w := tabwriter.NewWriter(&r.tables, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{header}, rows...) {
		// The first column is right aligned like the numbers: tabwriter has only
		// one alignment. The builder never fails.
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	_ = w.Flush()
	r.tables.WriteByte('\n')
}

// String returns the whole text.
func (r *Report) String() string {
	var b strings.Builder
	b.WriteString(r.tables.String())
	for _, note := range r.notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if len(r.aims) > 0 {
		b.WriteString("\naims\n")
	}
	for _, a := range r.aims {
		fmt.Fprintf(&b, "%-12s%s: %s\n", a.verdict, a.what, a.text)
	}
	return b.String()
}

// number formats a value with three significant digits, and NaN as a dash.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case math.Abs(x) >= 100 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f", x)
	case math.Abs(x) >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// times formats a ratio.
func times(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.2fx", x)
}

// figures collects one value per repetition for each target and figure.
type figures map[target.Name]map[string][]float64

func (f figures) add(name target.Name, figure string, value float64) {
	if f[name] == nil {
		f[name] = make(map[string][]float64)
	}
	f[name][figure] = append(f[name][figure], value)
}

// beyond returns the differences of a figure of two targets, from the rounds that
// have both.
func (f figures) beyond(name, other target.Name, figure string) stat.Interval {
	differences := stat.Differences(f[name][figure], f[other][figure])
	return stat.MedianInterval(slices.DeleteFunc(differences, math.IsNaN), confidence)
}

// ratio returns the ratio of a figure of two targets, from the rounds that have
// both.
func (f figures) ratio(name, other target.Name, figure string) stat.Interval {
	ratios := stat.Ratios(f[name][figure], f[other][figure])
	return stat.MedianInterval(slices.DeleteFunc(ratios, math.IsNaN), confidence)
}

// ratioToPair returns the ratio of a figure to that of the target's pair.
func (f figures) ratioToPair(name target.Name, figure string) stat.Interval {
	return f.ratio(name, name.Pair(), figure)
}

// deviation returns the distance of the ratio of caddy-again to caddy from 1.
func (f figures) deviation(figure string) float64 {
	return math.Abs(f.ratioToPair(target.CaddyAgain, figure).Mid - 1)
}

// median returns the median of a figure, without repetitions that have no value.
func (f figures) median(name target.Name, figure string) float64 {
	var seen []float64
	for _, value := range f[name][figure] {
		if !math.IsNaN(value) {
			seen = append(seen, value)
		}
	}
	return stat.Median(seen)
}

// most returns the highest value of a figure, and NaN without one.
func (f figures) most(name target.Name, figure string) float64 {
	return stat.Quantile(f[name][figure], 1)
}

// sum returns the sum of a figure over all repetitions, and NaN without one.
func (f figures) sum(name target.Name, figure string) float64 {
	if len(f[name][figure]) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, value := range f[name][figure] {
		sum += value
	}
	return sum
}

// cells formats the medians of the figures.
func (f figures) cells(name target.Name, names ...string) []string {
	cells := make([]string, len(names))
	for i, figure := range names {
		cells[i] = number(f.median(name, figure))
	}
	return cells
}

// tally counts the samples of a stream by their outcome.
type tally struct {
	ok, refused []float64 // ms
	failed      int
}

func tallyOf(samples []load.Sample) tally {
	var t tally
	for _, s := range samples {
		ms := float64(s.Took) / 1e6
		switch {
		case s.OK():
			t.ok = append(t.ok, ms)
		case s.Refused():
			t.refused = append(t.refused, ms)
		default:
			t.failed++
		}
	}
	return t
}
