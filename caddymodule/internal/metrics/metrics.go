package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/discard"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Collector publishes the numbers of the living pools and of the budget. Every
// configuration registers one with its own registry, and all of them read the
// same pools: counters survive reloads and end with their pool.
//
// The labels are names of pools and of their classes, whose number is fixed by the
// configuration, names of upstreams that a load balancer lists now, and values of fixed
// lists. Keys are no label, since clients can send any number of them.
type Collector struct{ Process *state.Process }

// Describe lists all metrics.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range poolNumbers {
		ch <- m.desc
	}
	for _, m := range poolStates {
		ch <- m.desc
	}
	for _, m := range classNumbers {
		ch <- m.desc
	}
	for _, m := range upstreamNumbers {
		ch <- m.desc
	}
	ch <- sendsTotal
	ch <- held
	ch <- shadowRejections
	for _, m := range budgetBytes {
		ch <- m.desc
	}
	for _, m := range budgetUploads {
		ch <- m.desc
	}
	ch <- discarding
	ch <- discardsTotal
	for _, opts := range []prometheus.HistogramOpts{pools.WaitOpts, pools.RunOpts} {
		pools.NewHistogramVec(opts).Describe(ch)
	}
}

// Collect reads all numbers.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	for _, pool := range c.Process.Pools.Living() {
		collect(pool, ch)
	}
	limits, used := c.Process.Budget.Limits(), c.Process.Budget.Usage()
	for _, m := range budgetBytes {
		memory, disk := m.of(limits, used)
		ch <- constant(m.desc, prometheus.GaugeValue, memory, "memory")
		ch <- constant(m.desc, prometheus.GaugeValue, disk, "disk")
	}
	for _, m := range budgetUploads {
		ch <- constant(m.desc, prometheus.GaugeValue, m.of(limits, used))
	}
	ch <- constant(discarding, prometheus.GaugeValue, c.Process.Discarder.Now())
	for _, end := range discard.Ends() {
		ch <- constant(discardsTotal, prometheus.CounterValue, c.Process.Discarder.Ended(end), end.String())
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
	for _, c := range p.Classes(&s) {
		for _, m := range classNumbers {
			ch <- constant(m.desc, m.kind, m.of(&c), s.Name, c.Name)
		}
	}
	for _, u := range s.Upstreams {
		for _, m := range upstreamNumbers {
			ch <- constant(m.desc, prometheus.GaugeValue, m.of(&u), s.Name, u.Name)
		}
	}
	ch <- constant(sendsTotal, prometheus.CounterValue, p.Sends.Load(), s.Name)
	count(offloader.Reasons(), p.ShadowRejected(), func(label fmt.Stringer, value float64) {
		ch <- constant(shadowRejections, prometheus.CounterValue, value, s.Name, label.String())
	})
	ch <- constant(held, prometheus.GaugeValue, p.Held(), s.Name)
	ch <- p.Waits
	ch <- p.Runs
}

var _ prometheus.Collector = Collector{}
