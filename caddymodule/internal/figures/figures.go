// Package figures formats numbers for operators, in the same way in the tables of the
// commands and on the status page.
package figures

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Brief returns a duration in at most six characters, or none if it is not above zero.
func Brief(d time.Duration, none string) string {
	switch {
	case d <= 0:
		return none
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Tally lists the counters above zero, sorted by name. number formats their values. Without
// any it returns "none".
func Tally(counters map[string]uint64, number func(uint64) string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if n := counters[name]; n > 0 {
			parts = append(parts, name+" "+number(n))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Sum returns the sum of counters.
func Sum(counters map[string]uint64) (n uint64) {
	for _, c := range counters {
		n += c
	}
	return n
}
