package scenario

import (
	"fmt"
	"math"
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
	aims   []string
	missed int
}

// Missed returns how many aims were missed.
func (r *Report) Missed() int { return r.missed }

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

// AtMost records whether a value is within its upper limit.
func (r *Report) AtMost(what string, got, limit float64) {
	r.aim(what, got <= limit, fmt.Sprintf("%s, aim <= %s", number(got), number(limit)), got)
}

// AtLeast records whether a value reaches its lower limit.
func (r *Report) AtLeast(what string, got, limit float64) {
	r.aim(what, got >= limit, fmt.Sprintf("%s, aim >= %s", number(got), number(limit)), got)
}

// RatioAtMost records whether a measured ratio is within its upper limit. It is
// missed only if the lower bound is above the limit, in the two decimals of the
// aims: the noise of the machine alone must not fail an aim.
func (r *Report) RatioAtMost(what string, got stat.Bounds, limit float64) {
	text := fmt.Sprintf("%.3fx [%.3f, %.3f], aim <= %.2fx", got.Mid, got.Low, got.High, limit)
	r.aim(what, math.Round(got.Low*100) <= math.Round(limit*100), text, got.Mid)
}

// aim adds an aim. It leaves out values that were not measured.
func (r *Report) aim(what string, met bool, text string, got float64) {
	if math.IsNaN(got) {
		return
	}
	verdict := "met"
	if !met {
		verdict = "MISSED"
		r.missed++
	}
	r.aims = append(r.aims, fmt.Sprintf("%-7s%s: %s", verdict, what, text))
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
	for _, aim := range r.aims {
		fmt.Fprintf(&b, "%s\n", aim)
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
