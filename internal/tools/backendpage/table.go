package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/backends"
	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

// tables returns the tables of the page by their names there.
func tables(r measured.Result) map[string]string {
	return map[string]string{
		"names":     names(),
		"setups":    setups(r),
		"burst":     burst(r),
		"recycling": recycling(r),
		"fast":      fast(r),
	}
}

// fill puts each table between its marks.
func fill(page string, tables map[string]string) (string, error) {
	for name, table := range tables {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(page, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			return "", fmt.Errorf("the page has no place for the table %s", name)
		}
		page = before + begin + table + end + after
	}
	return page, nil
}

// table formats rows, the head first.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// names lists the values of --backend, and the reasons.
func names() string {
	rows := [][]string{{"`--backend`", "for", "`concurrency`", "because", "with other settings", "also"}}
	for _, b := range backends.All() {
		rows = append(rows, []string{"`" + b.Name + "`", b.Title, strconv.Itoa(b.Concurrency), b.Reason, b.More, also(b)})
	}
	return table(rows)
}

func also(b backends.Backend) string {
	switch {
	case b.Stops != "":
		return "`on_abandon cancel`: " + b.Stops
	case b.KeepaliveOff != "":
		return "`keepalive off`: " + b.KeepaliveOff
	case b.FastCGI:
		return "`php_fastcgi`, and files of other kinds take no permit"
	}
	return ""
}

// setups lists the measurements of each server without offload.
func setups(r measured.Result) string {
	rows := [][]string{{
		"set-up", "version", "`--backend`", "`concurrency`", "stops when its client leaves", "the next begins beside an abandoned one",
		"waiting requests of clients that left", "idle connections are closed", "on one of them, while the loop is blocked", "`keepalive off`",
	}}
	for _, one := range r.Rows {
		if one.Missing != "" {
			rows = append(rows, []string{one.Setup, "not measured: " + one.Missing, "", "", "", "", "", "", "", ""})
			continue
		}
		name := ""
		if one.Backend != "" {
			name = "`" + one.Backend + "`"
		}
		rows = append(rows, []string{
			one.Setup, one.Versions, name, concurrency(one), yes(one.Stops), yes(one.Overlap),
			waiting[one.Waiting], idle(one.Idle), string(one.Blocked), keepalive(one),
		})
	}
	return table(rows) + "\nMeasured on " + r.Day + ".\n"
}

// waiting has the text for each fate of waiting requests. A fate without a text is shown
// as it is.
var waiting = map[measured.Waiting]string{
	measured.RunAll:  "all run",
	measured.RunNone: "none runs",
	measured.AtOnce:  "nothing waits: all begin at once",
}

// keepalive says whether connections must not be kept, by this measurement or another
// one.
func keepalive(row measured.Row) string {
	b, err := backends.Find(row.Backend)
	switch {
	case needsFresh(row):
		return "**needed**"
	case err == nil && b.KeepaliveOff != "":
		return "needed at times"
	}
	return "not needed"
}

// concurrency is the value of --backend, or the one that the set-up was measured with.
func concurrency(row measured.Row) string {
	if b, err := backends.Find(row.Backend); err == nil {
		return strconv.Itoa(b.Concurrency)
	}
	return strconv.Itoa(row.Through.Limit)
}

// needsFresh reports whether kept connections lost requests that fresh ones would not
// have lost, or made the fast route wait far longer.
func needsFresh(row measured.Row) bool {
	if row.Fast != nil && row.Fast.Kept > overtaken*row.Fast.Fresh {
		return true
	}
	return row.Blocked == measured.Lost || row.Recycled != nil && row.Recycled.Lost > 0 && row.Recycled.LostFresh == 0
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func idle(i measured.Idle) string {
	switch {
	case i.Each:
		return "there are none"
	case i.Never > 0:
		return fmt.Sprintf("not within %v s", i.Never)
	case i.Announced:
		return fmt.Sprintf("after %v s, announced", i.Seconds)
	default:
		return fmt.Sprintf("after %v s", i.Seconds)
	}
}

// burst lists the results of a burst through offload.
func burst(r measured.Result) string {
	rows := [][]string{{"set-up", "permits", "inside at once, at most", "clients that stayed", "served"}}
	for _, one := range r.Rows {
		if t := one.Through; one.Missing == "" {
			rows = append(rows, []string{one.Setup, strconv.Itoa(t.Limit), strconv.Itoa(t.Inside), strconv.Itoa(t.Stayed), strconv.Itoa(t.Served)})
		}
	}
	return table(rows)
}

// overtaken is the ratio of waits, kept to fresh connections, from which on requests
// were certainly overtaken.
const overtaken = 1.5

// fast lists the wait of a fast route while another route blocks the loop.
func fast(r measured.Result) string {
	rows := [][]string{{"set-up", "without `offload`", "`concurrency 1`", "`concurrency 1` and `keepalive off`"}}
	for _, one := range r.Rows {
		if f := one.Fast; f != nil {
			rows = append(rows, []string{one.Setup, fmt.Sprint(f.Plain), fmt.Sprint(f.Kept), fmt.Sprint(f.Fresh)})
		}
	}
	return table(rows)
}

// recycling lists the requests lost by workers that end after ten requests.
func recycling(r measured.Result) string {
	rows := [][]string{{"set-up", "POST requests", "lost on kept connections", "lost on fresh ones"}}
	for _, one := range r.Rows {
		if c := one.Recycled; c != nil {
			rows = append(rows, []string{one.Setup, strconv.Itoa(c.Sent), strconv.Itoa(c.Lost), strconv.Itoa(c.LostFresh)})
		}
	}
	return table(rows)
}
