package main

import (
	"fmt"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/clients"
	"github.com/caddy-offload/caddy-offload/internal/tools/tables"
)

// content returns the tables of the page by their names there.
func content(r clients.Result) map[string]string {
	return map[string]string{"advice": advice(r), "sends": sends(r)}
}

// advice lists what to set in each client.
func advice(r clients.Result) string {
	rows := [][]string{{"client", "version", "used as", "what to set"}}
	for _, c := range clients.Catalogue {
		rows = append(rows, []string{c.Title, version(r, c.Name), c.Use, c.Advice})
	}
	return tables.Format(rows)
}

// version returns the version of a client, or a note that it was not recorded.
func version(r clients.Result, name string) string {
	for _, row := range r.Rows {
		if row.Client == name {
			return row.Versions
		}
	}
	return "not recorded"
}

// sends lists for each client and method what it did in each case.
func sends(r clients.Result) string {
	head := []string{"client", "method"}
	for _, c := range clients.Cases {
		head = append(head, c.Title)
	}
	rows := [][]string{head}
	for _, c := range clients.Catalogue {
		for _, method := range []string{"GET", "POST"} {
			if row, ok := line(r, c, method); ok {
				rows = append(rows, row)
			}
		}
	}
	return tables.Format(rows) + "\nRecorded on " + r.Day + ".\n"
}

// line returns the row of a client and a method, if there is one.
func line(r clients.Result, c clients.Client, method string) (cells []string, ok bool) {
	cells = []string{c.Title, method}
	for _, one := range clients.Cases {
		cell := ""
		for _, row := range r.Rows {
			if row.Client == c.Name && row.Method == method && row.Case == one.Name {
				cell, ok = did(row), true
			}
		}
		cells = append(cells, cell)
	}
	return cells, ok
}

// did is what a client did for one call.
func did(row clients.Row) string {
	var b strings.Builder
	fmt.Fprint(&b, row.Sends)
	if row.GoesOn {
		b.WriteString(" and more")
	}
	if len(row.Pauses) > 0 {
		pauses := make([]string, len(row.Pauses))
		for i, p := range row.Pauses {
			pauses[i] = fmt.Sprint(p)
		}
		b.WriteString(" after " + strings.Join(pauses, ", ") + " s")
	}
	return b.String() + ": " + row.Sees
}
