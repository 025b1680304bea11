package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestQueriesOfADashboard(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text, err string
		want      []query
	}{
		"panels, folded ones too": {
			text: `{"panels": [{"title": "a", "targets": [{"expr": "up"}, {"expr": "down"}]},
				{"type": "row", "panels": [{"title": "b", "targets": [{"expr": "sum(x)"}]}]}]}`,
			want: []query{{"a", "up"}, {"a", "down"}, {"b", "sum(x)"}},
		},
		"variables are filled in": {
			text: `{"panels": [{"title": "a", "targets": [{"expr": "rate(x{pool=~\"$pool\"}[$__rate_interval])"}]}]}`,
			want: []query{{"a", `rate(x{pool=~".*"}[10s])`}},
		},
		"variables that are lists": {
			text: `{"templating": {"list": [{"name": "v", "type": "query", "definition": "label_values(x, pool)"}, {"name": "w", "type": "datasource"}]}}`,
			want: []query{{"variable v", "x"}},
		},
		"unknown variable":          {text: `{"panels": [{"title": "a", "targets": [{"expr": "x{y=\"$z\"}"}]}]}`, err: "unknown variable"},
		"unknown kind of variable":  {text: `{"templating": {"list": [{"name": "v", "type": "query", "definition": "metrics(x)"}]}}`, err: "no list of label values"},
		"panel that asks nothing":   {text: `{"panels": [{"title": "a", "type": "timeseries"}]}`, err: "panel 'a' asks nothing"},
		"nothing at all":            {text: `{}`, err: "the dashboard has no queries"},
		"something else than JSON":  {text: `panels`, err: "reading the dashboard"},
		"a row is no panel, though": {text: `{"panels": [{"title": "a", "type": "row"}]}`, err: "the dashboard has no queries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := queriesOf([]byte(test.text))
			if (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want '%s'", err, test.err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A query has data if it has any number.
func TestAsk(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ answer, err string }{
		"one number":               {`{"data": {"result": [{"values": [[1, "NaN"], [2, "0"]]}]}}`, ""},
		"one series of several":    {`{"data": {"result": [{"values": []}, {"values": [[1, "5"]]}]}}`, ""},
		"no series":                {`{"data": {"result": []}}`, "no data"},
		"nothing that is a number": {`{"data": {"result": [{"values": [[1, "NaN"]]}]}}`, "no data"},
		"an error":                 {`{"status": "error", "error": "bad query"}`, "bad query"},
		"something else":           {`<html>`, "reading the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("query") == "up" {
					io.WriteString(w, test.answer)
				}
			}))
			defer s.Close()
			err := api{s.URL}.ask(t.Context(), "up")
			if (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want '%s'", err, test.err)
			}
		})
	}
}

// await asks again until there is data, and finally names the queries without
// any.
func TestAwait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("query") == "late" && asked.Add(1) > 1 {
			io.WriteString(w, `{"data": {"result": [{"values": [[1, "1"]]}]}}`)
			return
		}
		io.WriteString(w, `{}`)
	}))
	defer s.Close()
	if err := (api{s.URL}).await(t.Context(), []query{{"a", "late"}}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := api{s.URL}.await(ctx, []query{{"a", "late"}, {"b", "never"}})
	if err == nil || err.Error() != "b: never: no data" {
		t.Errorf("got %v", err)
	}
}

// The check uses the example's configuration.
func TestMovedConfiguration(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../examples/observability/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := moved(text, "127.0.0.1:1")
	if err != nil || !strings.Contains(string(got), `["127.0.0.1:1"]`) || !strings.Contains(string(got), oftenEnough) {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := moved([]byte("scrape_interval: 5s"), "127.0.0.1:1"); err == nil {
		t.Error("no error without the target")
	}
}
