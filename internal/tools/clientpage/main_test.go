package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/clients"
)

// The tables of the page are exactly those of the recording.
func TestPageIsAsRecorded(t *testing.T) {
	t.Parallel()
	if err := run(false); err != nil {
		t.Error(err)
	}
}

// Each client of the recording is on the page with advice, and has been tried in each case.
func TestCatalogueIsAsRecorded(t *testing.T) {
	t.Parallel()
	result, err := clients.Read(filepath.Join("..", "..", "..", "docs", "clients.json"))
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string][]string{}
	for _, row := range result.Rows {
		tried[row.Client] = append(tried[row.Client], row.Case)
	}
	for _, c := range clients.Catalogue {
		for _, one := range clients.Cases {
			if !slices.Contains(tried[c.Name], one.Name) {
				t.Errorf("%s was not tried in the case %s", c.Name, one.Name)
			}
		}
		delete(tried, c.Name)
	}
	for name := range tried {
		t.Errorf("%s is not in the catalogue", name)
	}
}

func TestSendsAreShown(t *testing.T) {
	t.Parallel()
	got := sends(clients.Result{Rows: []clients.Row{
		{Client: "urllib3", Method: "GET", Case: "full", Sends: 3, Pauses: []float64{2, 1.1}, Sees: "503"},
		{Client: "urllib3", Method: "GET", Case: "timeout", Sends: 4, GoesOn: true, Sees: "comes back"},
	}})
	for _, want := range []string{"| urllib3 | GET | 3 after 2, 1.1 s: 503 |", "| 4 and more: comes back |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
