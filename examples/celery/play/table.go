package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// table writes the report for a person.
func (r *report) table(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d clients x %d requests, %d of those that only wait; broker %s, results by %s%s\n", clients, each, eachWaiting, r.Broker, r.Backend, r.rounds())
	if r.LoadBefore != "" {
		fmt.Fprintf(&b, "load of the machine: %s before, %s after\n", r.LoadBefore, r.LoadAfter)
	}
	fmt.Fprintf(&b, "\n%-29s%-9s%8s%9s%8s%9s%9s%11s  %s\n", "", "", "answered", "wall", "req/s", "p50", "p99", r.Bystander+" p99", "lost")
	before := "" // the title of the line above
	for _, one := range r.rows() {
		title := one.Variant
		if title == before {
			title = ""
		}
		before = one.Variant
		line := fmt.Sprintf("%-29s%-9s%8d%9s%8.0f%9s%9s%11s  %s",
			title, one.Way, one.Completed, seconds(one.WallS), one.PerSecond,
			millis(one.P50), millis(one.P99), millis(one.Ping.P99), one.kinds(r.Bystander))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString(r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// rounds explains the numbers of a line if there was more than one round.
func (r *report) rounds() string {
	if r.Rounds < 2 {
		return ""
	}
	return fmt.Sprintf("; %d rounds: counts are sums, the rest are medians", r.Rounds)
}

// verdict reports whether tasks were lost.
func (r *report) verdict() string {
	calls, lost := 0, r.lost()
	for _, one := range r.Runs {
		if one.mustNotLose {
			calls += one.Requests
		}
	}
	switch {
	case calls == 0:
		return ""
	case lost > 0:
		return fmt.Sprintf("\nFAILED: the celery directive behind offload lost %d of %d.\n", lost, calls)
	}
	return fmt.Sprintf("\nThe celery directive behind offload answered %d of %d.\n", calls, calls)
}

// kinds lists the errors of the lost requests, the most frequent first.
func (one *result) kinds(bystander string) string {
	kinds := slices.SortedFunc(maps.Keys(one.Errors), func(a, b string) int {
		return cmp.Or(one.Errors[b]-one.Errors[a], strings.Compare(a, b))
	})
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", one.Errors[kind], kind))
	}
	if one.Ping.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%s: %d of %d", bystander, one.Ping.Lost, one.Ping.Lost+one.Ping.Completed))
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) string { return load.Human(time.Duration(s * float64(time.Second))) }

// millis formats milliseconds, with a dash for zero.
func millis(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return load.Human(time.Duration(ms * float64(time.Millisecond)))
}
