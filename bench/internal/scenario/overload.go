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

	duration time.Duration
	settle   time.Duration // first part; the rest is the steady part
	p99      float64       // most for the successes of the steady part, in ms; 0: no aim
}

func overloadOffers(e *Env) []offer {
	all := []target.Name{
		target.Direct, target.Caddy, target.CaddyMaxConns, target.HAProxy, target.NGINX, target.Offload, target.OffloadBefore,
	}
	// The burst scenario needs a queue that fits all its clients. These rows show the
	// same queue under overload.
	longer := []target.Name{target.HAProxy, target.Offload, target.OffloadBefore}
	const short = 6 * time.Second
	long := pick(e, 25*time.Second, 4*time.Second)
	settle := pick(e, 10*time.Second, time.Second)
	if e.Quick {
		return []offer{{2, 64, all, long, settle, 0}, {10, 64, all, long, settle, 0}}
	}
	// The limits of the p99 are the values of an earlier run of 6 s.
	return []offer{
		{0.5, 64, all, short, time.Second, 0},
		{1, 64, all, short, time.Second, 0},
		{2, 64, all, long, settle, 76.5},
		{5, 64, all, long, settle, 62.3},
		{10, 64, all, long, settle, 57.2},
		{2, burstQueue, longer, long, settle, 75.3},
		{5, burstQueue, longer, long, settle, 62.8},
		{10, burstQueue, longer, long, settle, 57.7},
	}
}

func runOverload(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	report := &Report{}
	report.Textf("Upstream: 8 workers x 50 ms = 160 rps; service takes 5 %% longer for each request inside beyond 8;")
	report.Textf("backlog 256. Limit 8, longest wait 500 ms. Open loop, evenly spaced; a client gives up after 1 s.")
	report.Textf("goodput: answered within 1 s, as a share of the capacity (the queue's rest allows more than 1).")
	report.Textf("steady: the same of the answers that arrived in the steady part, which begins some seconds after")
	report.Textf("the load. p50, p99: of the successes in that part. on arrival: refused within %.0f ms. Times in ms.\n", onArrival)
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
	samples, err := e.streams(ctx, anyCore, load.Stream{
		Kind: load.Open, Addr: at.Addr, Path: target.SlowPath + "/x", Rate: o.factor * overloadCapacity,
		Duration: o.duration, Timeout: overloadPatience,
	})
	if err != nil {
		return err
	}
	stats, err := at.slow.Stats(ctx)
	if err != nil {
		return err
	}
	f.overloaded(name, samples[0], o)
	f.add(name, "max inside", float64(stats.MaxInside))
	return nil
}

func (f figures) overloaded(name target.Name, samples []load.Sample, o offer) {
	all := tallyOf(samples)
	steady := tallyOf(within(samples, o.settle, o.duration-overloadPatience))
	f.add(name, "goodput", float64(len(all.ok))/o.duration.Seconds()/overloadCapacity)
	f.add(name, "steady", float64(succeeded(samples, o.settle, o.duration))/(o.duration-o.settle).Seconds()/overloadCapacity)
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

// succeeded counts the requests that ended with success in the given part of a
// job.
func succeeded(samples []load.Sample, from, to time.Duration) int {
	n := 0
	for _, s := range samples {
		if end := s.Start + s.Took; s.OK() && end >= from && end < to {
			n++
		}
	}
	return n
}

func (r *Report) overload(e *Env, o offer, f figures) {
	r.Textf("%gx the capacity, queue %d, steady from %v to %v", o.factor, o.queue, o.settle, o.duration)
	columns := []string{
		"goodput", "steady", "p50", "p99", "p99 of all", "failed", "refused", "refusal p50", "refusal p99",
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
	best := max(f.reached(target.HAProxy), f.reached(target.NGINX), f.reached(target.CaddyMaxConns))
	if best > 0 {
		r.AtLeast(where+", steady goodput against the best peer", ours("steady")/best, 0.99)
	}
	r.AtMost(where+", most requests inside", ours("max inside"), overloadWorkers)
	if o.p99 > 0 {
		r.AtMost(where+", steady p99 of the successes in ms", ours("p99"), o.p99)
	}
	if o.factor >= 2 {
		r.AtMost(where+", refusal on arrival against haproxy",
			ours("on arrival p50")/f.median(target.HAProxy, "on arrival p50"), 1.5)
		r.AtLeast(where+", goodput against caddy-mcph", ours("goodput")/f.median(target.CaddyMaxConns, "goodput"), 3)
		r.AtLeast(where+", goodput against caddy", ours("goodput")/f.median(target.Caddy, "goodput"), 20)
	}
}

// reached returns the steady goodput of another proxy, or 0 if it was not measured.
func (f figures) reached(name target.Name) float64 {
	if steady := f.median(name, "steady"); !math.IsNaN(steady) {
		return steady
	}
	return 0
}
