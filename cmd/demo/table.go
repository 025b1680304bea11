package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// table prints the results for a reader.
func (r *report) table(w io.Writer, scenes []*scene) error {
	var b strings.Builder
	for _, s := range scenes {
		s.table(&b, r.Unprotected[s.key], r.Protected[s.key])
	}
	if lost := r.lost(); lost > 0 {
		fmt.Fprintf(&b, "FAILED: %d requests were lost although they were offloaded.\n", lost)
	} else {
		fmt.Fprintf(&b, "Nothing was lost with offload.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table prints the two runs of a scene in two columns.
func (s *scene) table(b *strings.Builder, without, with result) {
	fmt.Fprintf(b, "\n%s: %d clients x %d requests of %s each, %s\n\n",
		capital(s.title), clients, each, load.Human(s.service), plural(s.permits, "permit"))
	row := func(name, left, right string) { fmt.Fprintf(b, "  %-34s %16s %16s\n", name, left, right) }
	row("", "without offload", "with offload")

	share := func(completed, lost int) string { return fmt.Sprintf("%d of %d", completed, completed+lost) }
	row("blocking route answered", share(without.Completed, without.Lost), share(with.Completed, with.Lost))
	errorRows(row, without.Errors, with.Errors)
	latencyRows(row, without.Blocking, with.Blocking)

	row("fast route answered", share(without.Fast.Completed, without.Fast.Lost), share(with.Fast.Completed, with.Fast.Lost))
	errorRows(row, without.Fast.Errors, with.Fast.Errors)
	latencyRows(row, without.Fast.Latencies, with.Fast.Latencies)

	seconds := func(s float64) string { return load.Human(time.Duration(s * float64(time.Second))) }
	row("wall time", seconds(without.WallS), seconds(with.WallS))
	row("ideal", seconds(without.IdealS), seconds(with.IdealS))
	ratio := func(r result) string {
		if r.Completed == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2fx", r.Ratio)
	}
	row("time for each answer / ideal", ratio(without), ratio(with))
	if with.Fast.P99 > 0 {
		fmt.Fprintf(b, "\n  The fast route's p99 is %.0f times better.\n", without.Fast.P99/with.Fast.P99)
	}
	b.WriteByte('\n')
}

// errorRows prints a row for each kind of error in either run.
func errorRows(row func(name, left, right string), left, right map[string]int) {
	kinds := maps.Clone(left)
	maps.Copy(kinds, right)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		row("  "+kind, count(left[kind]), count(right[kind]))
	}
}

// latencyRows prints the quantiles.
func latencyRows(row func(name, left, right string), left, right load.Latencies) {
	ms := func(v float64) string { return load.Human(time.Duration(v * float64(time.Millisecond))) }
	row("  p50", ms(left.P50), ms(right.P50))
	row("  p95", ms(left.P95), ms(right.P95))
	row("  p99", ms(left.P99), ms(right.P99))
	row("  max", ms(left.Max), ms(right.Max))
}

// count prints a dash instead of a zero.
func count(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// capital makes the first letter of a line a capital.
func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
