package caddymodule_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// series are the values of a scrape by name and labels, as they are written.
type series map[string]float64

// heard sends requests until it gets an answer: at the moment of a reload Caddy may close
// a new connection without one.
func heard(t *testing.T, c *http.Client, url string) (res *http.Response, body string) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		var err error
		if res, err = c.Get(url); err != nil {
			return false
		}
		defer res.Body.Close()
		body, err = readAll(res.Body)
		return err == nil
	})
	return res, body
}

// scrape asks Caddy's metrics handler for our metrics.
func scrape(t *testing.T, s *site.Site) series {
	t.Helper()
	c := s.Clients()["h1"]
	defer c.CloseIdleConnections()
	res, body := heard(t, c, "https://"+s.Addr+"/metrics")
	if res.StatusCode != 200 {
		t.Fatalf("got %d %s", res.StatusCode, body)
	}
	all := series{}
	for line := range strings.Lines(body) {
		name, ours := strings.CutPrefix(strings.TrimSpace(line), "caddy_offload_")
		i := strings.LastIndexByte(name, ' ')
		if !ours || i < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(name[i+1:], 64); err == nil {
			all[name[:i]] = v
		}
	}
	return all
}

// want checks values of series, which are written without the quotes of labels.
func (s series) want(t *testing.T, values map[string]float64) {
	t.Helper()
	for name, value := range values {
		full := strings.NewReplacer("=", `="`, ",", `",`, "}", `"}`).Replace(name)
		if got, ok := s[full]; !ok || got != value {
			t.Errorf("%s is %v (%v), want %v", full, got, ok, value)
		}
	}
}

// counters are the series that must never fall.
func (s series) counters() series {
	counters := maps.Clone(s)
	maps.DeleteFunc(counters, func(name string, _ float64) bool {
		name, _, _ = strings.Cut(name, "{")
		return !slices.ContainsFunc([]string{"_total", "_count", "_bucket", "_sum"}, func(end string) bool {
			return strings.HasSuffix(name, end)
		})
	})
	return counters
}

const twoPools = `
	metrics /metrics
	offload /busy/* {
		name busy
		concurrency %d
		queue 1
		breaker off
	}
	offload /fails {
		name fails
		breaker {
			consecutive_failures 2
			cool_down 1m
		}
	}
	%s
	reverse_proxy UPSTREAM`

// failing blocks on the paths of holdOne, and fails on /fails.
func failing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/fails" {
		w.WriteHeader(500)
		return
	}
	blocking(w, r)
}

// A scrape through Caddy shows current requests and totals.
func TestMetrics(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(failing), fmt.Sprintf(twoPools, 1, ""))
	c := s.Clients()["h1"]
	url := "https://" + s.Addr
	scrape(t, s).want(t, map[string]float64{
		"running{pool=busy}": 0, "limit{pool=busy}": 1, "admitted_total{pool=busy}": 0,
		"rejections_total{pool=busy,reason=queue_full}": 0, "rejections_total{pool=fails,reason=run_timeout}": 0,
		"runs_total{outcome=failure,pool=fails}":           0,
		"breaker_state{pool=busy,state=off}":               1,
		"breaker_state{pool=fails,state=closed}":           1,
		"breaker_state{pool=fails,state=open}":             0,
		"phase{pool=busy,state=open}":                      1,
		"queue_wait_seconds_count{pool=busy}":              0,
		"budget_bytes{kind=memory}":                        256 << 20,
		"budget_left_bytes{kind=disk}":                     8 << 30,
		"stream_bytes{kind=memory}":                        0,
		"spool_limit_bytes{kind=memory}":                   128 << 20,
		"stream_limit_bytes{kind=disk}":                    4 << 30,
		"breaker_transitions_total{pool=fails,state=open}": 0,
	})
	site.Get(t, c, url+"/busy/warm")
	holdOne(t, s, c, "/busy/hold")
	var waiter sync.WaitGroup
	site.Leave(t, c, url+"/busy/left", func() {
		waiter.Go(func() {
			testkit.Eventually(t, func() bool { return scrape(t, s)[`waiting{pool="busy"}`] == 1 })
			if res, _ := site.Get(t, c, url+"/busy/rejected"); res.StatusCode != 503 {
				t.Errorf("got %d", res.StatusCode)
			}
			scrape(t, s).want(t, map[string]float64{
				"running{pool=busy}": 1, "waiting{pool=busy}": 1, "in_flight{pool=busy}": 2,
				"saturation_ratio{pool=busy}": 1, "queue_limit{pool=busy}": 1, "concurrency{pool=busy}": 1,
			})
		})
		waiter.Wait()
	})
	for range 3 {
		site.Get(t, c, url+"/fails")
	}
	testkit.Eventually(t, func() bool { return scrape(t, s)[`left_total{pool="busy"}`] == 1 })
	scrape(t, s).want(t, map[string]float64{
		"admitted_total{pool=busy}": 2, "runs_total{outcome=success,pool=busy}": 1, "run_seconds_count{pool=busy}": 1,
		"rejections_total{pool=busy,reason=queue_full}":    1,
		"queue_wait_seconds_count{pool=busy}":              2,
		"runs_total{outcome=failure,pool=fails}":           2,
		"rejections_total{pool=fails,reason=breaker_open}": 1,
		"breaker_state{pool=fails,state=open}":             1,
		"breaker_state{pool=fails,state=closed}":           0,
		"breaker_transitions_total{pool=fails,state=open}": 1,
	})
}

// Counters and histograms go on across reloads, also across those that fail.
func TestMetricsSurviveReloads(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(failing), fmt.Sprintf(twoPools, 1, ""))
	c := s.Clients()["h1"]
	before := scrape(t, s).counters()
	for n := 1; n <= 10; n++ {
		heard(t, c, "https://"+s.Addr+"/busy/ok")
		heard(t, c, "https://"+s.Addr+"/fails")
		if n%2 == 0 {
			s.Load(fmt.Sprintf(twoPools, n, "header X-Load yes"))
		} else {
			broken := bytes.ReplaceAll(s.Config(fmt.Sprintf(twoPools, n, "")), []byte(`"reverse_proxy"`), []byte(`"missing"`))
			_ = s.LoadFails(broken)
		}
		now := scrape(t, s)
		now.want(t, map[string]float64{
			"concurrency{pool=busy}":              float64(max(n-n%2, 1)),
			"admitted_total{pool=busy}":           float64(n),
			"queue_wait_seconds_count{pool=busy}": float64(n),
			"run_seconds_count{pool=busy}":        float64(n),
		})
		after := now.counters()
		for name, value := range before {
			if got, ok := after[name]; !ok || got < value {
				t.Errorf("%s was %v, and is %v (%v)", name, value, got, ok)
			}
		}
		before = after
	}
}

// A pool that a reload removes takes its series with it; one that comes again
// begins at zero. Pools that two sites share are listed once.
func TestMetricsOfRemovedPools(t *testing.T) {
	const shared = `
	offload {
		pool shared
	}`
	s := site.ServeGlobal(t, nil, shared, `
	handle /metrics {
		metrics
	}
	offload /a/* shared
	offload /b/* {
		name own
	}
	handle /c/* {
		offload shared
		respond "c"
	}
	respond "ok"`)
	c := s.Clients()["h1"]
	for _, path := range []string{"/a/1", "/b/1", "/c/1"} {
		site.Get(t, c, "https://"+s.Addr+path)
	}
	scrape(t, s).want(t, map[string]float64{"admitted_total{pool=own}": 1, "admitted_total{pool=shared}": 2})
	s.Load(`
	handle /metrics {
		metrics
	}
	offload /a/* shared
	respond "ok"`)
	now := scrape(t, s)
	now.want(t, map[string]float64{"admitted_total{pool=shared}": 2})
	for name := range now {
		if strings.Contains(name, `"own"`) {
			t.Errorf("%s is left", name)
		}
	}
	s.Load(`
	handle /metrics {
		metrics
	}
	offload /b/* {
		name own
	}
	respond "ok"`)
	scrape(t, s).want(t, map[string]float64{"admitted_total{pool=own}": 0, "admitted_total{pool=shared}": 2})
}

// Scrapes that accept them get native histograms in addition to the classic buckets.
func TestNativeHistograms(t *testing.T) {
	s := site.Serve(t, nil, `
	handle /metrics {
		metrics
	}
	offload /runs {
		name native
	}
	respond "ok"`)
	c := s.Clients()["h1"]
	site.Get(t, c, "https://"+s.Addr+"/runs")
	req, _ := http.NewRequest(http.MethodGet, "https://"+s.Addr+"/metrics", nil)
	req.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	res, body := site.Do(t, c, req)
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/vnd.google.protobuf" {
		t.Fatalf("got %s", kind)
	}
	found := 0
	decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(res.Header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(family.GetName(), "caddy_offload_") || family.GetType() != dto.MetricType_HISTOGRAM {
			continue
		}
		found++
		h := family.GetMetric()[0].GetHistogram()
		if h.Schema == nil || h.GetSchema() != 3 || h.GetSampleCount() != 1 || len(h.GetBucket()) < 10 {
			t.Errorf("%s: schema %d, %d samples, %d classic buckets", family.GetName(), h.GetSchema(), h.GetSampleCount(), len(h.GetBucket()))
		}
	}
	if found != 2 {
		t.Errorf("%d histograms, want 2", found)
	}
}
