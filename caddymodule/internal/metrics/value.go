package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/offloader"
)

type number interface{ int | int64 | uint64 | float64 }

func constant[N number](desc *prometheus.Desc, kind prometheus.ValueType, value N, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, kind, float64(value), labels...)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "offload", name), help, labels, nil)
}

// orInfinite returns infinity for a zero limit, which means "no limit", so that limits can
// be compared.
func orInfinite(n int) float64 {
	if n == 0 {
		return math.Inf(1)
	}
	return float64(n)
}

// limitOf returns a pool's limit of permits, zero while runs of the pools that it replaces
// hold all of them, and infinite without a limit.
func limitOf(s *offloader.Snapshot) float64 {
	if s.Concurrency > 0 {
		return float64(s.Limit)
	}
	return orInfinite(s.Limit)
}
