package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// poolNumbers are metrics with one series for each pool.
var poolNumbers = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*offloader.Snapshot) float64
}{
	{
		describe("in_flight", "Requests that wait or run.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 {
			return float64(s.Running - s.Lingering + s.Preflights + s.Waiting)
		},
	},
	{
		describe("uploading", "Requests whose body is being read.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Announced) },
	},
	{
		describe("running", "Permits that are taken.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Running) },
	},
	{
		describe("waiting", "Requests that wait for a permit.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Waiting) },
	},
	{
		describe("seeking", "Runs that wait for an upstream with room, a part of running.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Seeking) },
	},
	{
		describe("breaker_held", "Requests that wait until the breaker has closed.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Held) },
	},
	{
		describe("running_max", "The most permits that were taken at once.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.MostRunning) },
	},
	{
		describe("waiting_max", "The most requests that waited at once.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.MostWaiting) },
	},
	{
		describe("limit", "Permits that are given out at most now.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return limitOf(s) },
	},
	{
		describe("lent", "Permits held by runs of pools that this one has replaced.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Lent) },
	},
	{
		describe("concurrency", "Permits that are configured.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return orInfinite(s.Concurrency) },
	},
	{
		describe("queue_limit", "Places to wait that are configured.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.QueueLimit) },
	},
	{
		describe("saturation_ratio", "Permits that are taken, as a share of the limit.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Running+s.Lent) / (limitOf(s) + float64(s.Lent)) },
	},
	{
		describe("oldest_wait_seconds", "Time that the oldest waiter has waited.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return s.OldestWait.Seconds() },
	},
	{
		describe("mean_run_seconds", "How long a run takes, by the median.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return s.TypicalRun.Seconds() },
	},
	{
		describe("abandoned", "Runs that go on without their callers and hold a permit.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Abandoned) },
	},
	{
		describe("lingering", "Permits that are kept after the end of a cancelled run.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Lingering) },
	},
	{
		describe("preflights", "Preflights of browsers that run, without a permit.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Preflights) },
	},
	{
		describe("upgraded", "Upgraded connections that have left the pool and go on.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Detached) },
	},
	{
		describe("overridden", "Settings that are replaced by hand, a forced breaker among them.", "pool"), prometheus.GaugeValue,
		func(s *offloader.Snapshot) float64 {
			if s.BreakerForced {
				return float64(s.Overridden.Count() + 1)
			}
			return float64(s.Overridden.Count())
		},
	},
	{
		describe("admitted_total", "Requests that got a permit.", "pool"), prometheus.CounterValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Admitted) },
	},
	{
		describe("left_total", "Requests whose client left while they waited.", "pool"), prometheus.CounterValue,
		func(s *offloader.Snapshot) float64 { return float64(s.Left) },
	},
}

// classNumbers are metrics with a series for each class of a pool that has classes.
var classNumbers = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*offloader.ClassCount) float64
}{
	{
		describe("class_waiting", "Requests of a class that wait for a permit.", "pool", "class"), prometheus.GaugeValue,
		func(c *offloader.ClassCount) float64 { return float64(c.Waiting) },
	},
	{
		describe("class_running", "Permits that runs of a class hold.", "pool", "class"), prometheus.GaugeValue,
		func(c *offloader.ClassCount) float64 { return float64(c.Running) },
	},
	{
		describe("class_admitted_total", "Requests of a class that got a permit.", "pool", "class"), prometheus.CounterValue,
		func(c *offloader.ClassCount) float64 { return float64(c.Admitted) },
	},
	{
		describe("class_rejected_total", "Requests of a class that were rejected.", "pool", "class"), prometheus.CounterValue,
		func(c *offloader.ClassCount) float64 { return float64(c.Rejected) },
	},
}

// upstreamNumbers are metrics with a series for each upstream among which a pool chooses.
var upstreamNumbers = []struct {
	desc *prometheus.Desc
	of   func(*offloader.UpstreamCount) float64
}{
	{
		describe("upstream_running", "Permits of an upstream that are taken, by runs of all pools.", "pool", "upstream"),
		func(u *offloader.UpstreamCount) float64 { return float64(u.Running) },
	},
	{
		describe("upstream_limit", "Permits of an upstream.", "pool", "upstream"),
		func(u *offloader.UpstreamCount) float64 { return float64(u.Limit) },
	},
	{
		describe("upstream_available", "1 for an upstream that gets new runs, 0 for others.", "pool", "upstream"),
		func(u *offloader.UpstreamCount) float64 {
			if u.Available {
				return 1
			}
			return 0
		},
	},
}

var sendsTotal = describe("sends_total", "Requests sent to backends, those that were sent again included.", "pool")

var shadowRejections = describe("shadow_rejections_total", "Requests that would have been rejected or timed out, and were let through: mode shadow.", "pool", "reason")

var held = describe("held", "Rejected requests whose answers are held: reject_hold.", "pool")

// emitter takes one series of a metric.
type emitter func(label fmt.Stringer, value float64)

// poolStates are metrics with a series for each pool and each value of one label. All
// series begin at zero.
var poolStates = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	each func(s *offloader.Snapshot, emit emitter)
}{
	{
		describe("rejections_total", "Requests that were rejected or timed out.", "pool", "reason"),
		prometheus.CounterValue,
		func(s *offloader.Snapshot, emit emitter) { count(offloader.Reasons(), s.Rejected, emit) },
	},
	{
		describe("runs_total", "Runs that have ended.", "pool", "outcome"),
		prometheus.CounterValue,
		func(s *offloader.Snapshot, emit emitter) { count(outcomes, s.Ended, emit) },
	},
	{
		describe("phase", "1 for the phase that the pool is in, 0 for others.", "pool", "state"),
		prometheus.GaugeValue,
		func(s *offloader.Snapshot, emit emitter) { mark(offloader.Phases(), s.Phase, emit) },
	},
	{
		describe("breaker_state", "1 for the state that the breaker is in, 0 for others.", "pool", "state"),
		prometheus.GaugeValue,
		func(s *offloader.Snapshot, emit emitter) { mark(offloader.BreakerStates(), s.Breaker, emit) },
	},
	{
		describe("breaker_transitions_total", "Changes of the breaker's state, by the state that it went to.", "pool", "state"),
		prometheus.CounterValue,
		func(s *offloader.Snapshot, emit emitter) {
			count(offloader.BreakerStates()[1:], s.BreakerChanged, emit) // no breaker goes to "off"
		},
	},
}

var outcomes = []offloader.Outcome{offloader.Success, offloader.Failure, offloader.Excluded}

// label is a type whose values have names.
type label interface {
	comparable
	fmt.Stringer
}

// count emits the total of each value.
func count[L label](all []L, totals map[L]uint64, emit emitter) {
	for _, l := range all {
		emit(l, float64(totals[l]))
	}
}

// mark emits 1 for the current value and 0 for all others.
func mark[L label](all []L, current L, emit emitter) {
	for _, l := range all {
		value := 0.0
		if l == current {
			value = 1
		}
		emit(l, value)
	}
}
