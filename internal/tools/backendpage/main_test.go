package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/backends"
	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

var docs = filepath.Join("..", "..", "..", "docs")

// The tables of the page are exactly those of the measurements.
func TestPageIsAsMeasured(t *testing.T) {
	t.Parallel()
	if err := run(false); err != nil {
		t.Error(err)
	}
}

// A set-up that could not be measured stays in the table.
func TestMissingSetupsAreShown(t *testing.T) {
	t.Parallel()
	got := setups(measured.Result{Rows: []measured.Row{{Setup: "Other", Missing: "it could not be started"}}})
	if !strings.Contains(got, "| Other | not measured: it could not be started |") {
		t.Errorf("got\n%s", got)
	}
}

// The values of --backend follow from the measurements.
func TestNamesAreAsMeasured(t *testing.T) {
	t.Parallel()
	result, err := measured.Read(filepath.Join(docs, "backends.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range backends.All() {
		found := false
		for _, row := range result.Rows {
			if row.Backend != b.Name {
				continue
			}
			found = true
			if row.Missing != "" {
				t.Errorf("%s: %s was not measured: %s", b.Name, row.Setup, row.Missing)
				continue
			}
			check(t, b, row)
		}
		if !found {
			t.Errorf("%s was never measured", b.Name)
		}
	}
}

func check(t *testing.T, b backends.Backend, row measured.Row) {
	t.Helper()
	if stops := b.Stops != ""; stops != row.Stops {
		t.Errorf("%s: %s stops when its client leaves: %t, and the name presumes %t", b.Name, row.Setup, row.Stops, stops)
	}
	// The reverse does not hold: whether requests are overtaken in one run is random.
	if needsFresh(row) && b.KeepaliveOff == "" {
		t.Errorf("%s: %s needs fresh connections, and the name keeps them", b.Name, row.Setup)
	}
	if row.Through.Inside > row.Through.Limit {
		t.Errorf("%s: %d inside, for %d permits", row.Setup, row.Through.Inside, row.Through.Limit)
	}
	if row.Through.Served != row.Through.Stayed || row.Through.Stayed == 0 {
		t.Errorf("%s: %d of %d were served through offload", row.Setup, row.Through.Served, row.Through.Stayed)
	}
}

var block = regexp.MustCompile("(?s)\n```caddyfile ([^\n]+)\n(.*?)```")

// Each name has one Caddyfile on the page, which agrees with it. If the number depends on
// workers, the page has an example with more workers than the server's default.
func TestNamesHaveTheirCaddyfiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(docs, "backends.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, match := range block.FindAllStringSubmatch(string(text), -1) {
		for name := range strings.FieldsSeq(match[1]) {
			found[name] = append(found[name], match[2])
		}
	}
	for _, b := range backends.All() {
		if len(found[b.Name]) != 1 {
			t.Errorf("%s has %d Caddyfiles", b.Name, len(found[b.Name]))
			continue
		}
		text := found[b.Name][0]
		for line, want := range map[string]bool{"keepalive off": b.KeepaliveOff != "", "on_abandon cancel": b.Stops != "", "php_fastcgi": b.FastCGI} {
			if strings.Contains(text, line) != want {
				t.Errorf("%s: its Caddyfile has %q: %t", b.Name, line, !want)
			}
		}
		if !strings.Contains(text, "concurrency "+strconv.Itoa(b.Concurrency)+"\n") && !slices.Contains(workers, b.Name) {
			t.Errorf("%s: its Caddyfile has not concurrency %d", b.Name, b.Concurrency)
		}
	}
}

// workers are the names whose Caddyfile on the page is for four workers.
var workers = []string{"django", "gunicorn", "mod_wsgi", "puma", "starman", "uwsgi"}
