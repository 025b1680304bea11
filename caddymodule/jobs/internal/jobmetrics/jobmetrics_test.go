package jobmetrics_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobmetrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// open opens a store in memory that reports to the numbers.
func open(t *testing.T, numbers *jobmetrics.Numbers) *jobs.Service {
	t.Helper()
	lease, err := store.Take(t.Context(), store.Opening{
		Folder:  t.Name(),
		Engine:  func(context.Context) (jobs.Engine, error) { return memory.Open(memory.Options{}), nil },
		Options: jobs.Options{Limits: jobs.Limits{Queue: 4}, Observer: numbers.Observer()},
		Close:   func(s *store.Store) { _ = s.Close(context.Background()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lease.End()
		store.Wait(context.Background())
	})
	service, err := lease.Value().Service()
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// executor runs jobs, which succeed at once.
type executor struct{}

func (executor) Execute(_ context.Context, offer *jobs.Offer) jobs.Verdict {
	a, err := offer.Start()
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}
	}
	if err := a.Begin(200, nil); err != nil {
		return jobs.Verdict{Class: jobs.Broken}
	}
	if _, err := a.Write([]byte("result")); err != nil {
		return jobs.Verdict{Class: jobs.Broken}
	}
	return jobs.Verdict{Class: jobs.Completed}
}

func submission(key byte) jobs.Submission {
	return jobs.Submission{
		Route: "reports", Tenant: "one", Policy: jobs.Policy{MaxAttempts: 1, Keep: time.Hour, KeepDead: time.Hour},
		Key: &jobs.Key{Hash: [32]byte{key}, Until: time.Now().Add(time.Hour)},
	}
}

func accept(t *testing.T, s *jobs.Service, sub jobs.Submission) error {
	t.Helper()
	_, err := s.Accept(t.Context(), sub)
	return err
}

// gather returns the metrics by name. A registry rejects metrics that are not described.
func gather(t *testing.T, numbers *jobmetrics.Numbers) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(jobmetrics.Collector{Numbers: numbers})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// value returns the value of a series, which has these values of its labels.
func value(f *dto.MetricFamily, labels ...string) float64 {
	for _, m := range f.GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetValue())
		}
		slices.Sort(has)
		slices.Sort(labels)
		if slices.Equal(has, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return -1
}

// Jobs are counted from their submission to their end.
func TestNumbersOfJobs(t *testing.T) {
	numbers := jobmetrics.NewNumbers()
	s := open(t, numbers)
	for i := range 3 {
		if err := accept(t, s, submission(byte(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := accept(t, s, submission(1)); err != nil {
		t.Fatal(err)
	}
	other := submission(1)
	other.Key.Fingerprint[0] = 1
	if accept(t, s, other) == nil {
		t.Error("accepted with a key of another request")
	}
	if err := accept(t, s, submission(4)); err != nil {
		t.Fatal(err)
	}
	if accept(t, s, submission(5)) == nil {
		t.Error("accepted by a full queue")
	}
	numbers.Inline("reports")
	numbers.Commit(time.Millisecond, 3)
	check := func(want map[string]float64) {
		t.Helper()
		all := gather(t, numbers)
		for series, n := range want {
			parts := strings.Fields(series)
			if got := value(all["caddy_offload_jobs_"+parts[0]], parts[1:]...); got != n {
				t.Errorf("%s is %v, want %v", series, got, n)
			}
		}
	}
	check(map[string]float64{
		"accepted_total reports queued": 4, "accepted_total reports promoted": 0, "rejected_total reports queue_full": 1, "rejected_total reports key_reused": 1,
		"idempotency_total new": 4, "idempotency_total repeated": 1, "idempotency_total reused": 1, "inline_total reports": 1,
		"depth reports queued": 4, "running reports": 0, "stored queued": 4, "accept_seconds reports": 4, "run_seconds reports": 0,
		"finished_total reports succeeded": 0, "attempts_total reports broken": 0, "store_up": 1, "commit_seconds": 1, "commit_batch_size": 1,
		"tails reports": 0, "result_bytes_total reports": 0, "panics_total": 0,
	})
	defer s.Bind("reports", executor{}, jobs.RouteLimits{})()
	testkit.Eventually(t, func() bool {
		return value(gather(t, numbers)["caddy_offload_jobs_finished_total"], "reports", "succeeded") == 4
	})
	check(map[string]float64{
		"depth reports queued": 0, "stored succeeded": 4, "attempts_total reports completed": 4, "queue_wait_seconds reports": 4, "run_seconds reports": 4,
		"result_bytes_total reports": 24,
	})
}

// The names and texts follow the rules of Prometheus.
func TestLint(t *testing.T) {
	numbers := jobmetrics.NewNumbers()
	if err := accept(t, open(t, numbers), submission(1)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.CollectAndLint(jobmetrics.Collector{Numbers: numbers})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// documented is a row of the table in docs/metrics.md: name, type and labels.
var documented = regexp.MustCompile("(?m)^\\| `(caddy_offload_jobs_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*)\\|")

// The documentation lists each metric with its type and labels, and no other. The dashboard
// and the alerts ask for these metrics only, and the dashboard for all of them.
func TestMetricsAreDocumented(t *testing.T) {
	numbers := jobmetrics.NewNumbers()
	if err := accept(t, open(t, numbers), submission(1)); err != nil {
		t.Fatal(err)
	}
	var want, got, names []string
	for _, row := range documented.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		labels := strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(row[3]))
		slices.Sort(labels)
		want = append(want, row[1]+" "+row[2]+" "+strings.Join(labels, ","))
	}
	for name, family := range gather(t, numbers) {
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		names = append(names, name)
		got = append(got, name+" "+strings.ToLower(family.GetType().String())+" "+strings.Join(labels, ","))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("published\n%s\ndocumented\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	dashboard := read(t, "examples/observability/grafana/dashboards/caddy-offload.json")
	for _, name := range names {
		if !strings.Contains(dashboard, name) {
			t.Errorf("the dashboard does not ask for %s", name)
		}
	}
	for _, asked := range regexp.MustCompile("caddy_offload_jobs_[a-z_]+").FindAllString(dashboard+read(t, "examples/observability/alerts.yml"), -1) {
		if !slices.Contains(names, strings.TrimSuffix(asked, "_bucket")) {
			t.Errorf("the dashboard or an alert asks for %s", asked)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
