package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/columns"
)

// Row is a pool with its rates.
type Row struct {
	Pool
	AdmittedRate, RejectedRate rate
}

// rate is a number of requests a second, negative if it is unknown.
type rate float64

func (r rate) String() string {
	if r < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(r))
}

// Rows returns the pools of a view with their rates since an earlier one.
func (v View) Rows(before View) []Row {
	earlier := make(map[string]Pool, len(before.Pools))
	for _, p := range before.Pools {
		earlier[p.Name] = p
	}
	seconds := v.At.Sub(before.At).Seconds()
	rows := make([]Row, len(v.Pools))
	for i, p := range v.Pools {
		rows[i] = Row{p, -1, -1}
		if was, ok := earlier[p.Name]; ok && seconds > 0 {
			rows[i].AdmittedRate = growth(was.Admitted, p.Admitted, seconds)
			rows[i].RejectedRate = growth(was.Rejected, p.Rejected, seconds)
		}
	}
	return rows
}

func growth(was, now uint64, seconds float64) rate {
	if now < was { // another process
		return -1
	}
	return rate(float64(now-was) / seconds)
}

// sorting is an order of the pools.
type sorting struct {
	title string
	less  func(a, b Row) int // nil: the server's order
}

// sortings are the orders of the list, in the sequence in which the key selects them.
var sortings = []sorting{
	{"name", nil},
	{"running", func(a, b Row) int { return cmp.Compare(b.Running.Value, a.Running.Value) }},
	{"waiting", func(a, b Row) int { return cmp.Compare(b.Waiting.Value, a.Waiting.Value) }},
	{"oldest", func(a, b Row) int { return cmp.Compare(b.Oldest.Value, a.Oldest.Value) }},
	{"run", func(a, b Row) int { return cmp.Compare(b.MeanRun.Value, a.MeanRun.Value) }},
	{"admitted", func(a, b Row) int { return cmp.Compare(b.AdmittedRate, a.AdmittedRate) }},
	{"rejected", func(a, b Row) int { return cmp.Compare(b.RejectedRate, a.RejectedRate) }},
	{"state", func(a, b Row) int { return cmp.Compare(b.Level, a.Level) }},
}

// sorted sorts rows. Equal rows stay in the server's order.
func sorted(rows []Row, by sorting, reversed bool) []Row {
	rows = slices.Clone(rows)
	if by.less != nil {
		slices.SortStableFunc(rows, by.less)
	}
	if reversed {
		slices.Reverse(rows)
	}
	return rows
}

// Table returns the rows as a table, with bars of this width.
func Table(rows []Row, bar int, paint func(Level, string) string) *columns.Table {
	t := columns.New(
		columns.Column{Title: "POOL", Least: 16},
		columns.Column{Rank: 8}, columns.Column{Title: "RUNNING", Number: true},
		columns.Column{Rank: 9}, columns.Column{Title: "WAITING", Number: true},
		columns.Column{Title: "OLDEST", Number: true, Rank: 5}, columns.Column{Title: "RUN", Number: true, Rank: 6},
		columns.Column{Title: "BREAKER", Rank: 1},
		columns.Column{Title: "ADMITTED/s", Number: true, Rank: 4}, columns.Column{Title: "REJECTED/s", Number: true, Rank: 3},
		columns.Column{Title: "NOTES", Rank: 2, Least: 20},
	)
	for _, r := range rows {
		t.Add(r.Name, "["+Bar(r.Running.Share, bar)+"]", r.Running.Text, "["+Bar(r.Waiting.Share, bar)+"]", r.Waiting.Text,
			r.Oldest.Text, r.MeanRun.Text, paint(r.Level, r.State), r.AdmittedRate.String(), r.RejectedRate.String(), r.Notes)
	}
	return t
}

// plain paints nothing.
func plain(_ Level, text string) string { return text }

// PlainLines returns the pools of one view, for a file or another program.
func (v View) PlainLines() []string {
	const bar = 20
	head := v.At.Format("15:04:05") + "  " + counted(len(v.Pools), "pool")
	return append([]string{head, ""}, Table(v.Rows(View{}), bar, plain).Lines(0)...)
}

// counted returns a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// requestTable returns the requests of a pool as a table.
func requestTable(requests []Request) *columns.Table {
	t := columns.New(
		columns.Column{Title: "PHASE"}, columns.Column{Title: "ID", Rank: 3}, columns.Column{Title: "AGE", Number: true},
		columns.Column{Title: "CLIENT", Rank: 2, Least: 9}, columns.Column{Title: "REQUEST", Least: 10}, columns.Column{Title: "NOTES", Rank: 1, Least: 9},
	)
	for _, r := range requests {
		t.Add(r.Phase, r.ID, r.Age, r.Client, r.Line, r.Notes)
	}
	return t
}

// fitting joins as many parts as fit into a width, from the first on.
func fitting(width int, parts ...string) string {
	line := ""
	for _, part := range parts {
		longer := strings.TrimPrefix(line+"  "+part, "  ")
		if len(longer) > width && line != "" {
			break
		}
		line = longer
	}
	return columns.Shorten(line, width)
}
