package jobmetrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Collector publishes the numbers of jobs, and those that it reads from the open stores when
// it is scraped. Every configuration registers one with its own registry.
type Collector struct{ Numbers *Numbers }

// lookTime bounds the time that a scrape waits for the store.
const lookTime = 5 * time.Second

// The numbers of routes now.
var (
	depth   = describe("depth", "Jobs that have not ended, by their state.", "route", "state")
	oldest  = describe("oldest_seconds", "Time that the oldest queued job has waited.", "route")
	running = describe("running", "Jobs that run, those with a response that goes on too.", "route")
	tails   = describe("tails", "Readers that follow results of attempts that run.", "route")
	waiting = describe("queued_bytes", "Bytes of the bodies of jobs that wait.", "route")
)

// The numbers of all stores now.
var (
	stored      = describe("stored", "Jobs that are stored, by their stored state.", "state")
	storeBytes  = describe("store_bytes", "Bytes of the store: of its database, the free part of that, bodies and results.", "kind")
	storeLimit  = describe("store_limit_bytes", "Bytes that may be stored, 0 without a limit.")
	storeUp     = describe("store_up", "1 if the store can be used, 0 if it is damaged or unreadable.")
	backlog     = describe("webhook_backlog", "Webhooks that are pending.")
	recovery    = describe("recovery_seconds", "Time that it took to open the store.")
	recovered   = describe("recovered_jobs", "Jobs that had not ended when the store was opened.")
	ofProcesses = []*prometheus.Desc{stored, storeBytes, storeLimit, storeUp, backlog, recovery, recovered}
)

// Describe lists all metrics.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.Numbers.all() {
		m.Describe(ch)
	}
	for _, d := range append([]*prometheus.Desc{depth, oldest, running, tails, waiting}, ofProcesses...) {
		ch <- d
	}
}

// Collect reads all numbers.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	now := sum{routes: make(map[string]jobs.RouteStats), up: 1}
	for _, s := range store.All() {
		now.add(ctx, s)
	}
	for route, r := range now.routes {
		c.Numbers.begin(route)
		collectRoute(ch, route, r)
	}
	for _, m := range c.Numbers.all() {
		m.Collect(ch)
	}
	now.collect(ch)
}

func collectRoute(ch chan<- prometheus.Metric, route string, r jobs.RouteStats) {
	for _, d := range []struct {
		state jobs.State
		n     int
	}{
		{jobs.Queued, r.Queued},
		{jobs.RetryWait, r.RetryWait},
		{jobs.Running, r.Running - r.Streaming},
		{jobs.Streaming, r.Streaming},
	} {
		ch <- gauge(depth, float64(d.n), route, d.state.String())
	}
	ch <- gauge(oldest, r.Oldest.Seconds(), route)
	ch <- gauge(running, float64(r.Running), route)
	ch <- gauge(tails, float64(r.Tails), route)
	ch <- gauge(waiting, float64(r.QueuedBytes), route)
}

// sum has the numbers of all stores together. Usually there is one.
type sum struct {
	routes   map[string]jobs.RouteStats
	usage    jobs.Usage
	up       float64
	backlog  int
	recovery jobs.Recovery
}

func (n *sum) add(ctx context.Context, s *store.Store) {
	service, err := s.Service()
	if err != nil {
		n.up = 0
		return
	}
	stats := service.Stats()
	for route, r := range stats.Routes {
		n.routes[route] = together(n.routes[route], r)
	}
	n.backlog += stats.HookBacklog
	n.recovery.Took += stats.Recovery.Took
	n.recovery.Jobs += stats.Recovery.Jobs
	u, err := service.Usage(ctx)
	if err != nil {
		n.up = 0
		return
	}
	n.usage.FileBytes += u.FileBytes
	n.usage.FreeBytes += u.FreeBytes
	n.usage.BodyBytes += u.BodyBytes
	n.usage.ResultSize += u.ResultSize
	n.usage.Limit += u.Limit
	if n.usage.States == nil {
		n.usage.States = make(map[jobs.State]int64)
	}
	for state, jobs := range u.States {
		n.usage.States[state] += jobs
	}
}

func together(a, b jobs.RouteStats) jobs.RouteStats {
	a.Queued += b.Queued
	a.RetryWait += b.RetryWait
	a.Running += b.Running
	a.Streaming += b.Streaming
	a.Tails += b.Tails
	a.QueuedBytes += b.QueuedBytes
	a.Oldest = max(a.Oldest, b.Oldest)
	return a
}

func (n *sum) collect(ch chan<- prometheus.Metric) {
	for _, state := range jobs.States() {
		if state != jobs.Streaming {
			ch <- gauge(stored, float64(n.usage.States[state]), state.String())
		}
	}
	for kind, bytes := range map[string]int64{
		"database": n.usage.FileBytes, "free": n.usage.FreeBytes, "bodies": n.usage.BodyBytes, "results": n.usage.ResultSize,
	} {
		ch <- gauge(storeBytes, float64(bytes), kind)
	}
	ch <- gauge(storeLimit, float64(n.usage.Limit))
	ch <- gauge(storeUp, n.up)
	ch <- gauge(backlog, float64(n.backlog))
	ch <- gauge(recovery, n.recovery.Took.Seconds())
	ch <- gauge(recovered, float64(n.recovery.Jobs))
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

var _ prometheus.Collector = Collector{}
