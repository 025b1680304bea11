package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

// The figures of the start, and what offload may add to those of plain Caddy.
const (
	startFigure = "start ms"
	idleFigure  = "idle MB"
	sizeFigure  = "size MB"

	startAim = 5.0
	idleAim  = 2.0
	sizeAim  = 5.0 // without Celery
)

// startSettle is how long a target has been idle when its memory is read.
const startSettle = time.Second

var startTargets = []target.Name{target.CaddyPlain, target.OffloadNoCelery, target.Offload, target.OffloadBefore}

// startPrograms are the programs of the start. Releases have no symbols, so these
// are built without them.
func (e *Env) startPrograms(ctx context.Context) (target.Programs, error) {
	programs := e.Programs
	for name, build := range map[string]struct {
		folder  string
		program *string
	}{
		"start-plain":    {"./bench/internal/caddy/plain", &programs.Plain},
		"start-nocelery": {"./bench/internal/caddy/nocelery", &programs.NoCelery},
		"start-caddy":    {"./cmd/caddy", &programs.Caddy},
	} {
		var err error
		if *build.program, err = e.Build(ctx, name, build.folder, "-ldflags", "-s -w"); err != nil {
			return programs, err
		}
	}
	return programs, nil
}

func runStart(ctx context.Context, e *Env) (report *Report, err error) {
	e.defaultRounds = 20
	programs, err := e.startPrograms(ctx)
	if err != nil {
		return nil, err
	}
	up, err := e.upstream(ctx, anyCore, upstream.Config{Bare: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, up.Stop()) }()
	plan := target.Plan{
		Slow: up.Addr, Fast: up.Addr, Limit: burstLimit, Queue: burstQueue, MaxWait: 10 * time.Second, Core: anyCore,
	}
	f := make(figures)
	err = e.interleave(ctx, startTargets, func(ctx context.Context, name target.Name) error {
		return e.start(ctx, programs, name, plan, f)
	})
	if err != nil {
		return nil, err
	}
	report = &Report{}
	report.Textf("caddy-plain: the standard modules alone. offload-nocelery: with offload. offload: ./cmd/caddy. All are")
	report.Textf("built with the same Go and without symbols, and proxy the same site. start: from the start of the")
	report.Textf("process to the first answer. idle: resident memory %v later. +: median of the differences.\n", startSettle)
	report.start(e.chosen(startTargets), f)
	return report, nil
}

// start starts a target and sends it one request.
func (e *Env) start(ctx context.Context, programs target.Programs, name target.Name, plan target.Plan, f figures) (err error) {
	at, err := target.Start(ctx, programs, e.Dir, name, plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.Stop()) }()
	first, err := load.Run(ctx, load.Job{Streams: []load.Stream{{
		Kind: load.Closed, Addr: at.Addr, Path: target.SlowPath + "/128", Clients: 1, Requests: 1,
		Duration: time.Minute, Timeout: time.Minute,
	}}})
	took := time.Since(at.Began)
	if err != nil {
		return err
	}
	if answers := first.Streams[0]; len(answers) != 1 || !answers[0].OK() {
		return fmt.Errorf("first answer: %+v", answers)
	}
	program, err := os.Stat(at.Program)
	if err != nil {
		return fmt.Errorf("size of the program: %w", err)
	}
	f.add(name, startFigure, float64(took)/1e6)
	f.add(name, sizeFigure, float64(program.Size())/1e6)
	f.add(name, idleFigure, (&site{Target: at}).memoryAfter(startSettle)())
	return nil
}

func (r *Report) start(names []target.Name, f figures) {
	beyond := func(name target.Name, figure string) stat.Interval { return f.beyond(name, target.CaddyPlain, figure) }
	header := []string{"target"}
	for _, figure := range []string{startFigure, idleFigure, sizeFigure} {
		header = append(header, figure, "+")
	}
	var rows [][]string
	for _, name := range names {
		row := []string{string(name)}
		for _, figure := range []string{startFigure, idleFigure, sizeFigure} {
			row = append(row, number(f.median(name, figure)), difference(beyond(name, figure)))
		}
		rows = append(rows, row)
	}
	r.Table(header, rows)
	for _, name := range []target.Name{target.OffloadNoCelery, target.Offload} {
		r.DifferenceAtMost(string(name)+", start to the first answer, ms beyond plain Caddy", beyond(name, startFigure), startAim, 0)
		r.DifferenceAtMost(string(name)+", idle memory, MB beyond plain Caddy", beyond(name, idleFigure), idleAim, 0)
	}
	name := target.OffloadNoCelery
	r.AtMost(string(name)+", size of the program, MB beyond plain Caddy", beyond(name, sizeFigure).Mid, sizeAim)
}
