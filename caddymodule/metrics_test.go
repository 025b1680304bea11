package caddymodule

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/metrics"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// gather returns the metrics as a configuration's registry does.
func gather(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.Collector{Process: process})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// The names and texts follow the rules of Prometheus.
func TestMetricsLint(t *testing.T) {
	restoreBudget(t)
	provision(t, `{"pools": {"one": {}, "two": {"concurrency": -1, "breaker": {"off": true}}}}`).start()
	problems, err := testutil.CollectAndLint(metrics.Collector{Process: process})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// completePool starts a pool that has each metric.
func completePool(t *testing.T) {
	t.Helper()
	provision(t, `{"pools": {"one": {"classes": [{"name": "normal", "weight": 1}]}}}`).start()
	pool := living(t, "one")
	settings := pool.Configured()
	settings.UpstreamConcurrency = 1
	if err := pool.Configure(settings); err != nil {
		t.Fatal(err)
	}
	pool.ReportUpstreams([]offloader.UpstreamState{{Name: "127.0.0.1:8000", Available: true}})
}

// documented is a row of the tables in docs/metrics.md: name, type, and the
// label in addition to the pool's name, if any.
var documented = regexp.MustCompile("(?m)^\\| `(caddy_offload_[a-z_]+)` \\| ([a-z]+) \\| (?:`([a-z]+)`)? ?\\|")

// The documentation lists each metric with its type and labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	restoreBudget(t)
	completePool(t)
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	ofCore, _, _ := strings.Cut(string(text), "## Of jobs") // the plugin for jobs has the others
	ofPool, ofProcess, _ := strings.Cut(ofCore, "## Of the process")
	var want, got []string
	for i, part := range []string{ofPool, ofProcess} {
		for _, row := range documented.FindAllStringSubmatch(part, -1) {
			labels := slices.DeleteFunc([]string{"pool", row[3]}[i:], func(s string) bool { return s == "" })
			slices.Sort(labels)
			want = append(want, row[1]+" "+row[2]+" "+strings.Join(labels, ","))
		}
	}
	for _, family := range gather(t) {
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		got = append(got, family.GetName()+" "+strings.ToLower(family.GetType().String())+" "+strings.Join(labels, ","))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("published\n%s\ndocumented\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The example's dashboard queries published metrics only.
func TestDashboardAsksForKnownMetrics(t *testing.T) {
	restoreBudget(t)
	provision(t, `{"pools": {"one": {}}}`).start()
	text, err := os.ReadFile("../examples/observability/grafana/dashboards/caddy-offload.json")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, family := range gather(t) {
		known = append(known, family.GetName())
	}
	asked := regexp.MustCompile("caddy_offload_[a-z_]+").FindAllString(string(text), -1)
	if len(asked) < len(known) {
		t.Errorf("it asks for %d metrics", len(asked))
	}
	for _, name := range asked {
		if strings.HasPrefix(name, "caddy_offload_jobs_") {
			continue // of the plugin for jobs
		}
		if !slices.Contains(known, strings.TrimSuffix(name, "_bucket")) {
			t.Errorf("it asks for %s", name)
		}
	}
}

// Metrics show the settings that operators have overridden, as a reminder.
func TestMetricsOfWhatIsSetByHand(t *testing.T) {
	restoreBudget(t)
	provision(t, `{"pools": {"one": {}}}`).start()
	pool := living(t, "one")
	expect := func(want float64) {
		t.Helper()
		for _, family := range gather(t) {
			if family.GetName() == "caddy_offload_overridden" {
				if got := family.GetMetric()[0].GetGauge().GetValue(); got != want {
					t.Errorf("%v settings, want %v", got, want)
				}
			}
		}
	}
	expect(0)
	places := 3
	if err := pool.Override(func(o *offloader.Override) { o.Queue = &places }); err != nil {
		t.Fatal(err)
	}
	pool.ForceBreaker(offloader.BreakerForcedOpen)
	expect(2)
	pool.ForceBreaker(offloader.BreakerAuto)
	expect(1)
}

// The described metrics are the collected ones: a registry of Caddy's kind rejects any
// others, so that gather would have failed.
func TestMetricsAreDescribed(t *testing.T) {
	restoreBudget(t)
	completePool(t)
	described := make(chan *prometheus.Desc, 100)
	metrics.Collector{Process: process}.Describe(described)
	if got, want := len(described), len(gather(t)); got != want {
		t.Errorf("%d metrics are described, %d published", got, want)
	}
}
