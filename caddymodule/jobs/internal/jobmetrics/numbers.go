// Package jobmetrics publishes the numbers of jobs to Prometheus, as docs/metrics.md
// describes them.
package jobmetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Numbers counts what happens to the jobs of a process. Stores of jobs outlive
// configurations, and so do the numbers.
//
// The labels are names of routes, which the configuration has, and values of fixed lists.
// Tenants are no label, since clients can send any number of them.
type Numbers struct {
	accepted, inline, rejected, idempotency *prometheus.CounterVec
	attempts, finished, interrupted         *prometheus.CounterVec
	resultBytes                             *prometheus.CounterVec
	webhooks                                *prometheus.CounterVec
	storeFailures, panics                   prometheus.Counter

	accepting, waits, runs  *prometheus.HistogramVec
	commits, commitsOfBatch prometheus.Histogram
}

// NewNumbers returns numbers that are all zero.
func NewNumbers() *Numbers {
	return &Numbers{
		accepted:    counters("accepted_total", "Submissions that have become jobs, by whether the job was queued, or was promoted while it ran.", "route", "mode"),
		inline:      counters("inline_total", "Requests that agreed to a job and were answered within their wait.", "route"),
		rejected:    counters("rejected_total", "Submissions that were rejected.", "route", "reason"),
		idempotency: counters("idempotency_total", "Submissions with an idempotency key, by whether the key was new, repeated, or used for another request.", "result"),

		attempts:    counters("attempts_total", "Attempts that have ended, by how they have ended.", "route", "class"),
		finished:    counters("finished_total", "Jobs that have ended, by their state.", "route", "state"),
		interrupted: counters("interrupted_total", "Attempts that the end of a process has interrupted, as seen at the next start.", "route"),
		resultBytes: counters("result_bytes_total", "Bytes of results of attempts that have ended.", "route"),

		webhooks:      counters("webhook_total", "Tries to deliver a webhook.", "result"),
		storeFailures: prometheus.NewCounter(prometheus.CounterOpts(options("store_failures_total", "Ends of attempts that could not be stored at once."))),
		panics:        prometheus.NewCounter(prometheus.CounterOpts(options("panics_total", "Panics of code that runs, observes or reports jobs. Each ended its attempt or its try alone."))),

		accepting: times("accept_seconds", "Time from a submission, after its body was read, until it was stored.", "route"),
		waits:     times("queue_wait_seconds", "Time from the submission of a job, or from the time of its retry, to its next attempt.", "route"),
		runs:      times("run_seconds", "Time from the begin of an attempt to its end.", "route"),

		commits: prometheus.NewHistogram(histogram("commit_seconds", "Time of one commit of the store.",
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1)),
		commitsOfBatch: prometheus.NewHistogram(histogram("commit_batch_size", "Changes of jobs that one commit has stored.",
			1, 2, 4, 8, 16, 32, 64, 128, 256)),
	}
}

// Values of labels.
const (
	modeQueued   = "queued"
	modePromoted = "promoted"

	keyNew      = "new"
	keyRepeated = "repeated"
	keyReused   = "reused"
)

// Reasons of rejections, as [jobs.Observer] has them.
var reasons = []string{"queue_full", "tenant_limit", "store_full", reasonKeyReused, "stopping", "store_error"}

const reasonKeyReused = "key_reused"

// classes of attempts.
var classes = []jobs.Class{
	jobs.Completed, jobs.Declined, jobs.Busy, jobs.NotSent, jobs.Broken, jobs.Interrupted, jobs.Aborted, jobs.TooLarge,
}

// How tries of webhooks end.
const (
	webhookDelivered = "delivered"
	webhookFailed    = "failed"
	webhookGone      = "gone"
)

// Inline counts a request that has agreed to a job, and was answered within its wait.
func (n *Numbers) Inline(route string) { n.inline.WithLabelValues(route).Inc() }

// Commit counts a commit of a store.
func (n *Numbers) Commit(took time.Duration, changes int) {
	n.commits.Observe(took.Seconds())
	n.commitsOfBatch.Observe(float64(changes))
}

// Observer returns functions that count what a service reports.
func (n *Numbers) Observer() jobs.Observer {
	return jobs.Observer{
		Accepted: n.countAccepted,
		Repeated: func(*jobs.Record) { n.idempotency.WithLabelValues(keyRepeated).Inc() },
		Rejected: func(route, reason string) {
			n.rejected.WithLabelValues(route, reason).Inc()
			if reason == reasonKeyReused {
				n.idempotency.WithLabelValues(keyReused).Inc()
			}
		},
		Started: func(r *jobs.Record, waited time.Duration) {
			n.waits.WithLabelValues(r.Route).Observe(waited.Seconds())
		},
		Ended:       n.countEnded,
		Finished:    func(r *jobs.Record) { n.finished.WithLabelValues(r.Route, r.State.String()).Inc() },
		Delivered:   n.countDelivered,
		StoreFailed: func(*jobs.Record, error) { n.storeFailures.Inc() },
		Panicked:    func(*jobs.Record, any, []byte) { n.panics.Inc() },
	}
}

func (n *Numbers) countAccepted(r *jobs.Record) {
	mode := modeQueued
	if r.State == jobs.Running {
		mode = modePromoted
	} else {
		n.accepting.WithLabelValues(r.Route).Observe(time.Since(r.Created).Seconds())
	}
	n.accepted.WithLabelValues(r.Route, mode).Inc()
	if r.Key != nil {
		n.idempotency.WithLabelValues(keyNew).Inc()
	}
}

func (n *Numbers) countEnded(r *jobs.Record, a jobs.AttemptRecord) {
	n.attempts.WithLabelValues(r.Route, string(a.Class)).Inc()
	n.resultBytes.WithLabelValues(r.Route).Add(float64(a.Bytes))
	if a.Class == jobs.Interrupted {
		n.interrupted.WithLabelValues(r.Route).Inc()
		return // the time of its end is not known
	}
	n.runs.WithLabelValues(r.Route).Observe(a.Ended.Sub(a.Began).Seconds())
}

func (n *Numbers) countDelivered(_ *jobs.Record, d jobs.Delivery) {
	result := webhookFailed
	switch {
	case d.Delivered:
		result = webhookDelivered
	case d.Gone:
		result = webhookGone
	}
	n.webhooks.WithLabelValues(result).Inc()
}

// begin makes the series of a route, with the value zero, so that rates include the first
// event.
func (n *Numbers) begin(route string) {
	n.inline.WithLabelValues(route)
	n.interrupted.WithLabelValues(route)
	n.resultBytes.WithLabelValues(route)
	n.accepted.WithLabelValues(route, modeQueued)
	n.accepted.WithLabelValues(route, modePromoted)
	for _, reason := range reasons {
		n.rejected.WithLabelValues(route, reason)
	}
	for _, class := range classes {
		n.attempts.WithLabelValues(route, string(class))
	}
	for _, state := range jobs.States() {
		if state.Terminal() {
			n.finished.WithLabelValues(route, state.String())
		}
	}
	for _, h := range []*prometheus.HistogramVec{n.accepting, n.waits, n.runs} {
		h.WithLabelValues(route)
	}
}

// all lists the metrics that count events.
func (n *Numbers) all() []prometheus.Collector {
	for _, result := range []string{keyNew, keyRepeated, keyReused} {
		n.idempotency.WithLabelValues(result)
	}
	for _, result := range []string{webhookDelivered, webhookFailed, webhookGone} {
		n.webhooks.WithLabelValues(result)
	}
	return []prometheus.Collector{
		n.accepted, n.inline, n.rejected, n.idempotency, n.attempts, n.finished, n.interrupted, n.resultBytes, n.webhooks, n.storeFailures, n.panics,
		n.accepting, n.waits, n.runs, n.commits, n.commitsOfBatch,
	}
}
