package metrics

import (
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Collector publishes the numbers of the living pools and of the budget. Every
// configuration registers one with its own registry, and all of them read the
// same pools: counters survive reloads and end with their pool.
//
// The only labels are a pool's name, of which the configuration has a fixed
// number, and one word of a closed list.
type Collector struct{}

// Describe lists all metrics.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range poolNumbers {
		ch <- m.desc
	}
	for _, m := range poolStates {
		ch <- m.desc
	}
	ch <- sendsTotal
	for _, m := range budgetBytes {
		ch <- m.desc
	}
	for _, m := range budgetUploads {
		ch <- m.desc
	}
	for _, opts := range []prometheus.HistogramOpts{pools.WaitOpts, pools.RunOpts} {
		pools.NewHistogramVec(opts).Describe(ch)
	}
}

// Collect reads all numbers.
func (Collector) Collect(ch chan<- prometheus.Metric) {
	for _, pool := range pools.Living() {
		collect(pool, ch)
	}
	limits, used := pools.Budget.Limits(), pools.Budget.Usage()
	for _, m := range budgetBytes {
		memory, disk := m.of(limits, used)
		ch <- constant(m.desc, prometheus.GaugeValue, memory, "memory")
		ch <- constant(m.desc, prometheus.GaugeValue, disk, "disk")
	}
	for _, m := range budgetUploads {
		ch <- constant(m.desc, prometheus.GaugeValue, m.of(limits, used))
	}
}

func collect(p *pools.Pool, ch chan<- prometheus.Metric) {
	s := p.Snapshot()
	for _, m := range poolNumbers {
		ch <- constant(m.desc, m.kind, m.of(&s), s.Name)
	}
	for _, m := range poolStates {
		m.each(&s, func(label fmt.Stringer, value float64) {
			ch <- constant(m.desc, m.kind, value, s.Name, label.String())
		})
	}
	ch <- constant(sendsTotal, prometheus.CounterValue, p.Sends.Load(), s.Name)
	ch <- p.Waits
	ch <- p.Runs
}

type number interface{ int | int64 | uint64 | float64 }

func constant[N number](desc *prometheus.Desc, kind prometheus.ValueType, value N, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, kind, float64(value), labels...)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "offload", name), help, labels, nil)
}

// orInfinite turns the zero that stands for "no limit" into a number to compare
// with.
func orInfinite(n int) float64 {
	if n == 0 {
		return math.Inf(1)
	}
	return float64(n)
}

// limitOf is a pool's limit, which is zero where predecessors hold all permits.
func limitOf(s *offloader.Snapshot) float64 {
	if s.Concurrency > 0 {
		return float64(s.Limit)
	}
	return orInfinite(s.Limit)
}

// budgetBytes are metrics of the process, with a series for memory and one for
// disk.
var budgetBytes = []struct {
	desc *prometheus.Desc
	of   func(l spool.Limits, u spool.Usage) (memory, disk int64)
}{
	{
		describe("spool_bytes", "Bytes of request bodies that are kept.", "kind"),
		func(_ spool.Limits, u spool.Usage) (int64, int64) {
			return u.Memory - u.StreamMemory, u.Disk - u.StreamDisk
		},
	},
	{
		describe("stream_bytes", "Bytes of responses that their clients have not taken yet.", "kind"),
		func(_ spool.Limits, u spool.Usage) (int64, int64) { return u.StreamMemory, u.StreamDisk },
	},
	{
		describe("spool_limit_bytes", "Bytes of request bodies that may be kept.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Half() },
	},
	{
		describe("stream_limit_bytes", "Bytes of responses that may be kept.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Half() },
	},
	{
		describe("budget_bytes", "Bytes of request bodies and responses that may be kept together.", "kind"),
		func(l spool.Limits, _ spool.Usage) (int64, int64) { return l.Memory, l.Disk },
	},
	{
		describe("budget_left_bytes", "Bytes of the budget that are free.", "kind"),
		func(l spool.Limits, u spool.Usage) (int64, int64) {
			return max(l.Memory-u.Memory, 0), max(l.Disk-u.Disk, 0)
		},
	},
}

// budgetUploads are metrics of the process with one series.
var budgetUploads = []struct {
	desc *prometheus.Desc
	of   func(l spool.Limits, u spool.Usage) int
}{
	{
		describe("uploads", "Request bodies that are being read."),
		func(_ spool.Limits, u spool.Usage) int { return u.Uploads },
	},
	{
		describe("uploads_limit", "Request bodies that may be read at once."),
		func(l spool.Limits, _ spool.Usage) int { return l.Uploads },
	},
}

var _ prometheus.Collector = Collector{}
