package jobmetrics

import "github.com/prometheus/client_golang/prometheus"

// The names of metrics begin with these.
const (
	namespace = "caddy"
	subsystem = "offload_jobs"
)

func options(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts(options(name, help)), labels)
}

// histogram returns the options of a histogram with these classic buckets, and with native
// ones for scrapers that support them, each at most a tenth wider than the one before.
func histogram(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
	}
}

// times returns histograms of times, with classic buckets from a fast commit to a job that
// waits for hours.
func times(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogram(name, help,
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400), labels)
}
