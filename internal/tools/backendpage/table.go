package main

import (
	"fmt"
	"strconv"

	"github.com/caddy-offload/caddy-offload/internal/backends"
	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
	"github.com/caddy-offload/caddy-offload/internal/tools/tables"
)

// content returns the tables of the page by their names there.
func content(r measured.Result) map[string]string {
	return map[string]string{
		"names":     names(),
		"setups":    setups(r),
		"burst":     burst(r),
		"recycling": recycling(r),
		"fast":      fast(r),
	}
}

// names lists the values of --backend, and the reasons.
func names() string {
	rows := [][]string{{"`--backend`", "for", "`concurrency`", "because", "with other settings", "also"}}
	for _, b := range backends.All() {
		rows = append(rows, []string{"`" + b.Name + "`", b.Title, strconv.Itoa(b.Concurrency), b.Reason, b.More, also(b)})
	}
	return tables.Format(rows)
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
	return tables.Format(rows) + "\nMeasured on " + r.Day + ".\n"
}

// waiting has the text for each fate of waiting requests. A fate without a text is shown
// as it is.
var waiting = map[measured.Waiting]string{
	measured.RunAll:  "all run",
	measured.RunNone: "none runs",
	measured.AtOnce:  "nothing waits: all begin at once",
}

// keepalive returns whether `keepalive off` is needed for a server, by this measurement or
// another one.
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

// concurrency returns the number of permits of --backend, or the one with which the set-up
// was measured.
func concurrency(row measured.Row) string {
	if b, err := backends.Find(row.Backend); err == nil {
		return strconv.Itoa(b.Concurrency)
	}
	return strconv.Itoa(row.Through.Limit)
}

// needsFresh reports whether kept connections lost requests that fresh connections would
// not have lost, or made the fast route wait far longer.
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
	return tables.Format(rows)
}

// overtaken is the ratio of waits, kept to fresh connections, above which later requests
// have certainly overtaken earlier ones.
const overtaken = 1.5

// fast lists the wait of a fast route while another route blocks the loop.
func fast(r measured.Result) string {
	rows := [][]string{{"set-up", "without `offload`", "`concurrency 1`", "`concurrency 1` and `keepalive off`"}}
	for _, one := range r.Rows {
		if f := one.Fast; f != nil {
			rows = append(rows, []string{one.Setup, fmt.Sprint(f.Plain), fmt.Sprint(f.Kept), fmt.Sprint(f.Fresh)})
		}
	}
	return tables.Format(rows)
}

// recycling lists the requests lost by workers that end after ten requests.
func recycling(r measured.Result) string {
	rows := [][]string{{"set-up", "POST requests", "lost on kept connections", "lost on fresh ones"}}
	for _, one := range r.Rows {
		if c := one.Recycled; c != nil {
			rows = append(rows, []string{one.Setup, strconv.Itoa(c.Sent), strconv.Itoa(c.Lost), strconv.Itoa(c.LostFresh)})
		}
	}
	return tables.Format(rows)
}
