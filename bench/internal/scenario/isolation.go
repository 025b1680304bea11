package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

// shape is a kind of server behind the isolation scenario.
type shape struct {
	name    string
	about   string
	workers int
	limit   int
	apart   bool // the fast route has a separate server
}

const (
	isolationBlock = 100 * time.Millisecond
	isolationFast  = 100 * time.Microsecond
)

func runIsolation(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	report := &Report{}
	report.Textf("100 clients keep a blocking route of 100 ms busy; 50 rps on a fast route of 0.1 ms beside it.")
	report.Textf("A probe fails after 5 s. nginx has no queue: its clients rest 50 ms after each refusal.\n")
	for _, s := range []shape{
		{"loop1", "both routes on one event loop", 1, 1, false},
		{"loop2", "the blocking route on an event loop of its own", 1, 1, true},
		{"sync", "10 synchronous workers that thrash beyond 10 requests", 10, 8, false},
	} {
		names := []target.Name{
			target.Direct, target.Caddy, target.CaddyMaxConns, target.HAProxy, target.NGINX, target.Offload,
		}
		if s.apart {
			names = names[1:] // no single address serves both routes directly
		}
		f := make(figures)
		err := e.interleave(ctx, names, func(ctx context.Context, name target.Name) error {
			return e.isolate(ctx, s, name, f)
		})
		if err != nil {
			return nil, err
		}
		report.isolation(e.chosen(names), s, f)
	}
	return report, nil
}

func (e *Env) isolate(ctx context.Context, s shape, name target.Name, f figures) (err error) {
	config := upstream.Config{
		Workers: s.workers, Backlog: 1000, Thrash: 0.05,
		Routes: map[string]upstream.Route{
			target.SlowPath: {Service: isolationBlock, Size: 128},
			target.FastPath: {Service: isolationFast, Size: 128},
		},
	}
	if s.workers == 1 {
		config.Thrash = 0 // a loop serves one request after the other
	}
	slow, err := e.upstream(ctx, anyCore, config)
	if err != nil {
		return err
	}
	fast := slow
	if s.apart {
		if fast, err = e.upstream(ctx, anyCore, config); err != nil {
			return errors.Join(err, slow.Stop())
		}
	}
	plan := target.Plan{Limit: s.limit, Queue: 128, MaxWait: time.Minute}
	at, err := e.siteBefore(ctx, name, plan, slow, fast)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	duration := pick(e, 8*time.Second, 3*time.Second)
	samples, err := e.streams(ctx, anyCore,
		load.Stream{
			Kind: load.Closed, Addr: at.Addr, Path: target.SlowPath + "/x", Clients: 100,
			Duration: duration, Timeout: time.Minute, Cut: 2 * time.Second, Pause: 50 * time.Millisecond,
		},
		load.Stream{
			Kind: load.Open, Addr: at.Addr, Path: target.FastPath + "/x", Rate: 50,
			Duration: duration, Timeout: 5 * time.Second,
		},
	)
	if err != nil {
		return err
	}
	f.isolated(name, samples[0], samples[1], duration)
	return nil
}

// isolationSettle is the beginning of a measurement, in which the clients arrive and which
// is left out.
const isolationSettle = time.Second

func (f figures) isolated(name target.Name, slow, fast []load.Sample, duration time.Duration) {
	// Failed probes count with the time after which they gave up.
	probes := make([]time.Duration, len(fast))
	for i, s := range fast {
		probes[i] = s.Took
	}
	f.add(name, "fast p50", stat.Quantile(stat.Millis(probes), 0.5))
	f.add(name, "p99", stat.Quantile(stat.Millis(probes), 0.99))
	f.add(name, "max", stat.Quantile(stat.Millis(probes), 1))
	f.add(name, "failed %", 100*float64(len(fast)-len(tallyOf(fast).ok))/float64(len(fast)))
	ended := 0
	for _, s := range slow {
		if end := s.Start + s.Took; s.OK() && end > isolationSettle && end <= duration {
			ended++
		}
	}
	f.add(name, "blocking rps", float64(ended)/(duration-isolationSettle).Seconds())
	blocking := tallyOf(slow)
	f.add(name, "refused/s", float64(len(blocking.refused))/duration.Seconds())
	f.add(name, "blocking p50", stat.Quantile(blocking.ok, 0.5))
	f.add(name, "blocking p99", stat.Quantile(blocking.ok, 0.99))
}

func (r *Report) isolation(names []target.Name, s shape, f figures) {
	r.Textf("%s: %s, limit %d", s.name, s.about, s.limit)
	columns := []string{"fast p50", "p99", "max", "failed %", "blocking rps", "refused/s", "blocking p50", "blocking p99"}
	var rows [][]string
	for _, name := range names {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	r.Table(append([]string{"target, ms"}, columns...), rows)

	ours := func(figure string) float64 { return f.median(target.Offload, figure) }
	ideal := float64(s.limit) / isolationBlock.Seconds()
	r.AtMost(s.name+", failed probes", ours("failed %"), 0)
	r.AtMost(s.name+", fast p99 against haproxy", ours("p99")/f.median(target.HAProxy, "p99"), 1.2)
	r.AtLeast(s.name+", blocking throughput against limit / time", ours("blocking rps")/ideal, 0.97)
	// With one event loop, serving each client once takes longer than the measurement.
	if s.workers > 1 {
		r.AtMost(s.name+", blocking p99 / p50", ours("blocking p99")/ours("blocking p50"), 1.15)
	}
}
