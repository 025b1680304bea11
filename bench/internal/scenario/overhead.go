package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

// overheadSize is one part of the overhead scenario.
type overheadSize struct {
	bytes   int
	clients int
	rate    float64 // of the fixed-rate part, far from saturation
	aims    map[target.Name]float64
}

// p50Aim is the limit for the median latency of every offload target.
const p50Aim = 1.05

func overheadSizes() []overheadSize {
	aims := func(spooled float64) map[target.Name]float64 {
		return map[target.Name]float64{target.OffloadUnmarked: 1.00, target.OffloadNoSpool: 1.05, target.Offload: spooled}
	}
	return []overheadSize{
		{bytes: 128, clients: 32, rate: 1500, aims: aims(1.07)},
		{bytes: 64 << 10, clients: 32, rate: 1000, aims: aims(0.95)},
		{bytes: 1 << 20, clients: 8, rate: 100, aims: aims(1.30)},
	}
}

// The figures of the overhead scenario.
const (
	cpuFigure = "CPU us"
	rpsFigure = "rps"
	p50Figure = "p50 us"
)

var overheadTargets = []target.Name{
	target.Caddy, target.CaddyAgain, target.OffloadUnmarked, target.OffloadNoSpool, target.Offload,
	target.HAProxy, target.NGINX,
}

// runOverhead runs all targets of a round at the same time, each pinned to the same
// core, and loads them in turn in short slices.
func runOverhead(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 12
	report := &Report{}
	report.Textf("Proxy on one core with one thread, upstream and load on the other. Each round starts all targets")
	report.Textf("anew and loads them in rotating slices. x: median of the ratios to caddy of the same round, with")
	report.Textf("the one-sided 90 %% bounds of that median. caddy-again is plain Caddy once more: the noise.\n")
	for _, size := range overheadSizes() {
		f := make(figures)
		for round := range e.rounds() {
			if err := e.overheadRound(ctx, size, f); err != nil {
				return nil, err
			}
			e.logf("%d bytes: round %d of %d done", size.bytes, round+1, e.rounds())
		}
		report.overhead(e, size, f)
	}
	return report, nil
}

func (e *Env) overheadRound(ctx context.Context, size overheadSize, f figures) (err error) {
	up, err := e.upstream(ctx, loadCore, upstream.Config{Bare: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.Stop()) }()
	var targets []*target.Target
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, t.Stop())
		}
	}()
	plan := target.Plan{
		Slow: up.Addr, Fast: up.Addr, Limit: 64, Queue: 64, MaxWait: 10 * time.Second, Core: proxyCore,
	}
	names := slices.Clone(e.chosen(overheadTargets))
	// The first start and the last warm-up may be an advantage, so the order changes.
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if err := e.try(ctx, name, func(ctx context.Context, name target.Name) error {
			t, err := e.target(ctx, name, plan)
			if err == nil {
				targets = append(targets, t)
			}
			return err
		}); err != nil {
			return err
		}
	}
	if err := e.saturate(ctx, size, targets, f); err != nil {
		return err
	}
	return e.fixedRate(ctx, size, targets, f)
}

// saturate measures CPU per request with all clients busy.
func (e *Env) saturate(ctx context.Context, size overheadSize, targets []*target.Target, f figures) error {
	job := load.SliceJob{
		Clients: size.clients,
		Warmup:  pick(e, 400*time.Millisecond, 200*time.Millisecond),
		Slice:   100 * time.Millisecond,
		Rounds:  pick(e, 16, 3),
		Buffer:  64 << 10,
	}
	for _, t := range targets {
		pids, err := t.PIDs()
		if err != nil {
			return err
		}
		job.Targets = append(job.Targets, load.SliceTarget{Addr: t.Addr, Path: size.path(t.Name), PIDs: pids})
	}
	var results []load.SliceResult
	if err := e.load(ctx, loadCore, load.ServeSlices, job, &results); err != nil {
		return err
	}
	for i, t := range targets {
		if results[i].Failed > 0 {
			e.failed[t.Name] = fmt.Errorf("%d of its connections failed", results[i].Failed)
			continue
		}
		f.add(t.Name, cpuFigure, results[i].CPUPerRequest())
		f.add(t.Name, rpsFigure, results[i].Throughput())
	}
	return nil
}

// fixedRate measures the latency of requests that find the proxy idle. It counts from
// the time at which a request was sent: no request waits at such a rate, and the
// oversleeping of the generator would hide the differences.
func (e *Env) fixedRate(ctx context.Context, size overheadSize, targets []*target.Target, f figures) error {
	for _, t := range targets {
		samples, err := e.streams(ctx, loadCore, load.Stream{
			Kind: load.Open, Addr: t.Addr, Path: size.path(t.Name), Rate: size.rate,
			Duration: pick(e, 1500*time.Millisecond, 300*time.Millisecond), Timeout: 5 * time.Second,
		})
		if err != nil {
			return err
		}
		var took []time.Duration
		for _, s := range samples[0] {
			if s.OK() {
				took = append(took, s.Took-s.Late)
			}
		}
		f.add(t.Name, p50Figure, 1000*stat.Median(stat.Millis(took)))
	}
	return nil
}

func (s overheadSize) path(name target.Name) string {
	return fmt.Sprintf("%s/%d", name.Path(), s.bytes)
}

func (r *Report) overhead(e *Env, size overheadSize, f figures) {
	r.Textf("%d bytes, %d connections; p50 at %.0f rps", size.bytes, size.clients, size.rate)
	var rows [][]string
	for _, name := range e.chosen(overheadTargets) {
		cpu := ratioTo(f, name, cpuFigure)
		p50 := ratioTo(f, name, p50Figure)
		row := append([]string{string(name)}, f.cells(name, cpuFigure)...)
		row = append(row, bounds(cpu))
		row = append(row, f.cells(name, rpsFigure)...)
		row = append(row, times(ratioTo(f, name, rpsFigure).Mid))
		row = append(append(row, f.cells(name, p50Figure)...), bounds(p50))
		rows = append(rows, row)
		if aim, has := size.aims[name]; has {
			r.RatioAtMost(fmt.Sprintf("%s, %d bytes, CPU per request against caddy", name, size.bytes), cpu, aim)
			r.RatioAtMost(fmt.Sprintf("%s, %d bytes, p50 against caddy", name, size.bytes), p50, p50Aim)
		}
	}
	r.Table([]string{"target", "CPU us", "x", "rps", "x", "p50 us", "x"}, rows)
}

// ratioTo returns the bounds of a figure's ratio to plain Caddy.
func ratioTo(f figures, name target.Name, figure string) stat.Bounds {
	return stat.MedianBounds(stat.Ratios(f[name][figure], f[target.Caddy][figure]), 0.9)
}

func bounds(b stat.Bounds) string {
	if math.IsNaN(b.Mid) {
		return "-"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", b.Mid, b.Low, b.High)
}
