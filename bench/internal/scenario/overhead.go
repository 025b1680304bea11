package scenario

import (
	"context"
	"errors"
	"fmt"
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
	slice   time.Duration // long enough for many requests
	rate    float64       // of the half load, if caddy is not measured
	cpu     aims          // CPU per request, at most
	rps     aims          // throughput, at least
}

// aims are limits for ratios to plain Caddy.
type aims map[target.Name]float64

func overheadSizes() []overheadSize {
	const slice = 100 * time.Millisecond
	cpu := func(noSpool, spooled float64) aims {
		return aims{target.OffloadUnmarked: 1.00, target.OffloadNoSpool: noSpool, target.Offload: spooled}
	}
	return []overheadSize{
		{bytes: 128, clients: 32, slice: slice, rate: 4000, cpu: cpu(1.03, 1.04)},
		{bytes: 4 << 10, clients: 32, slice: slice, rate: 4000, cpu: cpu(1.03, 1.04)},
		{bytes: 64 << 10, clients: 32, slice: slice, rate: 2500, cpu: cpu(1.02, 0.95)},
		{bytes: 1 << 20, clients: 8, slice: slice, rate: 600, cpu: cpu(1.01, 1.08), rps: aims{target.Offload: 0.95}},
		{bytes: 16 << 20, clients: 4, slice: 2 * slice, rate: 35, cpu: aims{target.OffloadUnmarked: 1.00, target.Offload: 1.10}},
	}
}

// The figures of the overhead scenario.
const (
	cpuFigure = "CPU us"
	rpsFigure = "rps"
	p50Figure = "p50 us"
	p99Figure = "p99 us"

	failedFigure = "failed" // at half load, which may be above the capacity of a slow target
)

// overheadRounds is the default number of rounds. A size goes on to twice as many
// while an interval of its ratios is too wide to decide.
const overheadRounds = 24

var overheadTargets = []target.Name{
	target.Caddy, target.CaddyAgain, target.OffloadUnmarked, target.OffloadNoSpool, target.Offload,
	target.OffloadBefore, target.CaddyUsual, target.OffloadUsual,
	target.CaddyMaxConns, target.HAProxy, target.NGINX,
}

// runOverhead runs all targets of a round at the same time, each pinned to the same
// core, and loads them in turn in short slices.
func runOverhead(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = overheadRounds
	report := &Report{}
	report.Textf("Proxy on one core with one thread, upstream and load on the other. Each round starts all targets")
	report.Textf("again and loads them in rotating slices: first with all connections busy (CPU, rps), then with an")
	report.Textf("open loop at half of the throughput that caddy reached in this round (p50, p99). x: median of the")
	report.Textf("ratios to caddy of the same round, with its 90 %% interval; offload-usual compares with caddy-usual.")
	report.Textf("caddy-again is plain Caddy a second time: the noise.\n")
	for _, size := range overheadSizes() {
		if len(e.Sizes) > 0 && !slices.Contains(e.Sizes, size.bytes) {
			continue
		}
		f := make(figures)
		for round := 0; round < e.rounds() || e.undecided(size, f, round); round++ {
			if err := e.overheadRound(ctx, size, f); err != nil {
				return nil, err
			}
			e.logf("%d bytes: round %d of %d done", size.bytes, round+1, e.rounds())
		}
		report.overhead(e, size, f)
	}
	return report, nil
}

// undecided reports whether a run with the default number of rounds needs another
// one.
func (e *Env) undecided(size overheadSize, f figures, done int) bool {
	if e.Quick || e.Rounds > 0 || done >= 2*e.defaultRounds {
		return false
	}
	for name := range size.cpu {
		if len(f[name]) > 0 && !precise(f.ratioToPair(name, cpuFigure)) {
			return true
		}
	}
	return false
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
	// The queue is long enough for the requests that arrive while the machine stalls:
	// rejections would make a target look cheaper.
	plan := target.Plan{
		Slow: up.Addr, Fast: up.Addr, Limit: 64, Queue: 4096, MaxWait: 10 * time.Second, Core: proxyCore,
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
	return e.halfLoad(ctx, size, targets, f)
}

// saturate measures CPU per request with all clients busy.
func (e *Env) saturate(ctx context.Context, size overheadSize, targets []*target.Target, f figures) error {
	results, err := e.slices(ctx, size, targets, 0)
	if err != nil {
		return err
	}
	for i, t := range targets {
		if results[i].Failed > 0 {
			e.failed[t.Name] = fmt.Errorf("%d connections of the load to this target failed", results[i].Failed)
			continue
		}
		f.add(t.Name, cpuFigure, results[i].CPUPerRequest())
		f.add(t.Name, rpsFigure, results[i].Throughput())
	}
	return nil
}

// halfLoad measures the latency at half of caddy's throughput. It counts from the
// time at which a request was sent: the oversleeping of the generator would hide the
// differences.
func (e *Env) halfLoad(ctx context.Context, size overheadSize, targets []*target.Target, f figures) error {
	targets = slices.DeleteFunc(slices.Clone(targets), func(t *target.Target) bool { return e.failed[t.Name] != nil })
	rate := size.rate
	if reached := f[target.Caddy][rpsFigure]; len(reached) > 0 {
		rate = reached[len(reached)-1] / 2
	}
	results, err := e.slices(ctx, size, targets, rate)
	if err != nil {
		return err
	}
	for i, t := range targets {
		f.add(t.Name, failedFigure, float64(results[i].Failed))
		took := stat.Millis(results[i].Took)
		f.add(t.Name, p50Figure, 1000*stat.Median(took))
		f.add(t.Name, p99Figure, 1000*stat.Quantile(took, 0.99))
	}
	return nil
}

// slices loads the targets in turn, at a rate or, without one, by clients that are
// always busy.
func (e *Env) slices(
	ctx context.Context, size overheadSize, targets []*target.Target, rate float64,
) ([]load.SliceResult, error) {
	job := load.SliceJob{
		Clients: size.clients,
		Rate:    rate,
		Warmup:  pick(e, 400*time.Millisecond, 100*time.Millisecond),
		Slice:   size.slice,
		Rounds:  pick(e, 16, 3),
		Buffer:  64 << 10,
	}
	for _, t := range targets {
		pids, err := t.PIDs()
		if err != nil {
			return nil, err
		}
		job.Targets = append(job.Targets, load.SliceTarget{
			Addr: t.Addr, Path: size.path(t.Name), Header: t.Name.Header(), PIDs: pids,
		})
	}
	var results []load.SliceResult
	err := e.load(ctx, loadCore, load.ServeSlices, job, &results)
	if err == nil && len(results) != len(targets) {
		err = errors.New("load process: results are missing")
	}
	return results, err
}

func (s overheadSize) path(name target.Name) string {
	return fmt.Sprintf("%s/%d", name.Path(), s.bytes)
}

// overhead adds the table and the aims of one size.
func (r *Report) overhead(e *Env, size overheadSize, f figures) {
	r.Textf("%d bytes, %d connections, %d rounds", size.bytes, size.clients, len(f[target.Caddy][cpuFigure]))
	header := []string{"target"}
	for _, figure := range []string{cpuFigure, rpsFigure, p50Figure, p99Figure} {
		header = append(header, figure, "x")
	}
	var rows [][]string
	for _, name := range e.chosen(overheadTargets) {
		row := []string{string(name)}
		for _, figure := range []string{cpuFigure, rpsFigure, p50Figure, p99Figure} {
			row = append(row, number(f.median(name, figure)), interval(f.ratioToPair(name, figure)))
		}
		rows = append(rows, append(row, number(f.median(name, failedFigure))))
	}
	header = append(header, failedFigure)
	if len(f[target.OffloadBefore]) > 0 {
		change := f.ratio(target.Offload, target.OffloadBefore, cpuFigure)
		r.Textf("CPU of offload against offload-before: %s", interval(change))
	}
	r.Table(header, rows)
	for _, name := range []target.Name{target.OffloadUnmarked, target.OffloadNoSpool, target.Offload} {
		r.overheadAims(size, name, f)
	}
}

func (r *Report) overheadAims(size overheadSize, name target.Name, f figures) {
	what := func(about string) string {
		return fmt.Sprintf("%s, %d bytes, %s against caddy", name, size.bytes, about)
	}
	if most, has := size.cpu[name]; has {
		r.RatioAtMost(what("CPU per request"), f.ratioToPair(name, cpuFigure), most, f.deviation(cpuFigure))
	}
	if least, has := size.rps[name]; has {
		r.RatioAtLeast(what("throughput"), f.ratioToPair(name, rpsFigure), least, f.deviation(rpsFigure))
	}
	equals := func(figure string) stat.Interval { return f.ratioToPair(target.CaddyAgain, figure) }
	r.WithinSpread(what("p50 at half load"), f.ratioToPair(name, p50Figure), equals(p50Figure))
	r.WithinSpread(what("p99 at half load"), f.ratioToPair(name, p99Figure), equals(p99Figure))
}
