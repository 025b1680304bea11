package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

const (
	overloadWorkers  = 8
	overloadService  = 50 * time.Millisecond
	overloadCapacity = float64(overloadWorkers) / 0.05 // requests per second
	overloadPatience = time.Second                     // of a client
	onArrival        = 20.0                            // ms: a rejection that is faster did not wait
)

// offer is one row of the overload scenario.
type offer struct {
	factor float64 // offered load as a share of the capacity
	queue  int
	names  []target.Name
}

func overloadOffers(e *Env) []offer {
	all := []target.Name{
		target.Direct, target.Caddy, target.CaddyMaxConns, target.HAProxy, target.NGINX, target.Offload,
	}
	// The burst scenario needs a queue for all its clients; these rows show the
	// same queue under overload.
	longer := []target.Name{target.HAProxy, target.Offload}
	if e.Quick {
		return []offer{{1, 64, all}, {5, 64, all}}
	}
	return []offer{
		{0.5, 64, all},
		{1, 64, all},
		{2, 64, all},
		{5, 64, all},
		{10, 64, all},
		{2, burstQueue, longer},
		{5, burstQueue, longer},
		{10, burstQueue, longer},
	}
}

func runOverload(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	report := &Report{}
	report.Textf("Upstream: 8 workers x 50 ms = 160 rps; service takes 5 %% longer for each request inside beyond 8;")
	report.Textf("backlog 256. Limit 8, longest wait 500 ms. Open loop, evenly spaced; a client gives up after 1 s.")
	report.Textf("goodput: answered within 1 s, as a share of the capacity (the queue's rest allows 1.07).")
	report.Textf("p50, p99: of the successes in the steady part. on arrival: refused within %.0f ms. Times in ms.\n", onArrival)
	for _, o := range overloadOffers(e) {
		f := make(figures)
		err := e.interleave(ctx, o.names, func(ctx context.Context, name target.Name) error {
			return e.overload(ctx, o, name, f)
		})
		if err != nil {
			return nil, err
		}
		report.overload(e, o, f)
	}
	return report, nil
}

func (e *Env) overload(ctx context.Context, o offer, name target.Name, f figures) (err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: overloadWorkers, Queue: o.queue, MaxWait: 500 * time.Millisecond},
		upstream.Config{
			Workers: overloadWorkers, Backlog: 256, Thrash: 0.05,
			Routes: map[string]upstream.Route{target.SlowPath: {Service: overloadService, Size: 128}},
		})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	duration := pick(e, 6*time.Second, 4*time.Second)
	samples, err := e.streams(ctx, anyCore, load.Stream{
		Kind: load.Open, Addr: at.Addr, Path: target.SlowPath + "/x", Rate: o.factor * overloadCapacity,
		Duration: duration, Timeout: overloadPatience,
	})
	if err != nil {
		return err
	}
	stats, err := at.slow.Stats(ctx)
	if err != nil {
		return err
	}
	f.overloaded(name, samples[0], duration)
	f.add(name, "max inside", float64(stats.MaxInside))
	return nil
}

func (f figures) overloaded(name target.Name, samples []load.Sample, duration time.Duration) {
	all := tallyOf(samples)
	steady := tallyOf(within(samples, time.Second, duration-time.Second))
	f.add(name, "goodput", float64(len(all.ok))/duration.Seconds()/overloadCapacity)
	f.add(name, "p50", stat.Quantile(steady.ok, 0.5))
	f.add(name, "p99", stat.Quantile(steady.ok, 0.99))
	f.add(name, "p99 of all", stat.Quantile(all.ok, 0.99))
	f.add(name, "failed", float64(all.failed))
	f.add(name, "refused", float64(len(all.refused)))
	f.add(name, "refusal p50", stat.Quantile(all.refused, 0.5))
	f.add(name, "refusal p99", stat.Quantile(all.refused, 0.99))
	var early []float64
	for _, ms := range all.refused {
		if ms <= onArrival {
			early = append(early, ms)
		}
	}
	f.add(name, "on arrival", float64(len(early)))
	f.add(name, "on arrival p50", stat.Quantile(early, 0.5))
}

// within returns the samples that were due in the given part of a job.
func within(samples []load.Sample, from, to time.Duration) []load.Sample {
	var part []load.Sample
	for _, s := range samples {
		if s.Start >= from && s.Start < to {
			part = append(part, s)
		}
	}
	return part
}

func (r *Report) overload(e *Env, o offer, f figures) {
	r.Textf("%gx the capacity, queue %d", o.factor, o.queue)
	columns := []string{
		"goodput", "p50", "p99", "p99 of all", "failed", "refused", "refusal p50", "refusal p99",
		"on arrival", "on arrival p50", "max inside",
	}
	var rows [][]string
	for _, name := range e.chosen(o.names) {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	r.Table(append([]string{"target"}, columns...), rows)
	r.overloadAims(o, f)
}

func (r *Report) overloadAims(o offer, f figures) {
	where := fmt.Sprintf("%gx, queue %d", o.factor, o.queue)
	ours := func(figure string) float64 { return f.median(target.Offload, figure) }
	best := math.Max(f.best(target.HAProxy), math.Max(f.best(target.NGINX), f.best(target.CaddyMaxConns)))
	r.AtLeast(where+", goodput against the best peer", ours("goodput")/best, 0.98)
	r.AtMost(where+", most requests inside", ours("max inside"), overloadWorkers)
	service := float64(overloadService) / 1e6
	switch {
	case o.factor >= 5:
		r.AtMost(where+", steady p99 / service time", ours("p99")/service, 1.5)
	case o.factor >= 2:
		r.AtMost(where+", steady p99 / service time", ours("p99")/service, 1.8)
	}
	if o.factor >= 2 {
		r.AtMost(where+", refusal on arrival against haproxy",
			ours("on arrival p50")/f.median(target.HAProxy, "on arrival p50"), 1.5)
		r.AtLeast(where+", goodput against caddy-mcph", ours("goodput")/f.median(target.CaddyMaxConns, "goodput"), 3)
		r.AtLeast(where+", goodput against caddy", ours("goodput")/f.median(target.Caddy, "goodput"), 20)
	}
}

// best returns the goodput of another proxy, or 0 if it was not measured.
func (f figures) best(name target.Name) float64 {
	if goodput := f.median(name, "goodput"); !math.IsNaN(goodput) {
		return goodput
	}
	return 0
}
