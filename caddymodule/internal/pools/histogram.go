package pools

import "github.com/prometheus/client_golang/prometheus"

// Options of the histograms. Each pool has separate histograms, which exist as long as the
// pool.
var (
	WaitOpts = timesOpts("queue_wait_seconds", "Time from a request's arrival at the queue to its permit.")
	RunOpts  = timesOpts("run_seconds", "Time from the permit to its release.")
)

// timesOpts returns the options of a histogram of times. It has classic buckets from a fast
// answer to the longest report, and native buckets for scrapers that support them, each at
// most a tenth wider than the one before. Too many native buckets are merged in pairs, and
// never reset, so that counters only grow.
func timesOpts(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "offload", Name: name, Help: help,
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},

		NativeHistogramBucketFactor:    1.1,
		NativeHistogramZeroThreshold:   1.0 / (1 << 14), // 61 µs: no wait at all
		NativeHistogramMaxBucketNumber: 160,
	}
}

// NewHistogramVec returns the vector that describes the histograms of all pools.
func NewHistogramVec(opts prometheus.HistogramOpts) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(opts, []string{"pool"})
}

// newHistogram returns the histogram of one pool. It is the only one of a separate vector:
// all metrics of one name must have the same description, with a variable label.
func newHistogram(opts prometheus.HistogramOpts, pool string) prometheus.Histogram {
	return NewHistogramVec(opts).WithLabelValues(pool).(prometheus.Histogram)
}
