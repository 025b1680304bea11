package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// brief returns a duration in at most six characters.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
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

// clean escapes text of a client for a terminal, which executes control characters.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// share returns a number and its limit.
func share(n, of int) string {
	if of == 0 {
		return fmt.Sprintf("%d/off", n)
	}
	return fmt.Sprintf("%d/%d", n, of)
}

// share returns the permits of the pool's runs and the permits that its predecessors leave
// it.
func (p *pool) share() string {
	if p.Concurrency > 0 {
		return fmt.Sprintf("%d/%d", p.Running, p.Limit)
	}
	return share(p.Running, p.Limit)
}

// tally lists the counters above zero, sorted by name.
func tally(counters map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if n := counters[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func sum(counters map[string]uint64) (n uint64) {
	for _, c := range counters {
		n += c
	}
	return n
}

// printJSON prints an answer as indented JSON.
func (s *call) printJSON(text []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(text), "", "\t"); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	fmt.Fprintln(s.out, indented.String())
	return nil
}
