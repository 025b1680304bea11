package scenario

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

const (
	eventCount   = 60
	eventEvery   = 50 * time.Millisecond
	eventClients = 8
	eventDelay   = 0.1 // ms that offload may add to the p99 of plain Caddy
)

func runEvents(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 12
	report := &Report{}
	report.Textf("%d clients read %d events that are sent %v apart: delay of an event in ms.", eventClients, pick(e, eventCount, 20), eventEvery)
	report.Textf("p99 - caddy: median of the differences to caddy in the same round. caddy-again: the noise.\n")
	names := []target.Name{
		target.Direct, target.Caddy, target.CaddyAgain, target.CaddyBuffers, target.HAProxy, target.NGINX,
		target.OffloadNoSpool, target.Offload, target.OffloadBefore,
	}
	f := make(figures)
	err := e.interleave(ctx, names, func(ctx context.Context, name target.Name) error {
		return e.events(ctx, name, f)
	})
	if err != nil {
		return nil, err
	}
	report.events(e, e.chosen(names), f)
	return report, nil
}

func (r *Report) events(e *Env, names []target.Name, f figures) {
	columns := []string{"events", "p50", "p99", "max"}
	var rows [][]string
	for _, name := range names {
		row := append([]string{string(name)}, f.cells(name, columns...)...)
		rows = append(rows, append(row,
			times(f.median(name, "p50")/f.median(target.Caddy, "p50")), difference(f.beyond(name, target.Caddy, "p99"))))
	}
	r.Table(append([]string{"target"}, append(columns, "p50 x caddy", "p99 - caddy")...), rows)
	noise := math.Abs(f.beyond(target.CaddyAgain, target.Caddy, "p99").Mid)
	for _, name := range []target.Name{target.OffloadNoSpool, target.Offload} {
		r.AtLeast(string(name)+", events", f.median(name, "events"), float64(eventClients*pick(e, eventCount, 20)))
		r.DifferenceAtMost(string(name)+", ms added to the p99 of an event", f.beyond(name, target.Caddy, "p99"), eventDelay, noise)
	}
}

func (e *Env) events(ctx context.Context, name target.Name, f figures) (err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: 8, Queue: 64, MaxWait: 10 * time.Second},
		upstream.Config{Routes: map[string]upstream.Route{
			target.SlowPath: {Events: pick(e, eventCount, 20), Every: eventEvery},
		}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	samples, err := e.streams(ctx, anyCore, load.Stream{
		Kind: load.Events, Addr: at.Addr, Path: target.SlowPath + "/x", Clients: eventClients,
		Duration: 10 * time.Second, Timeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	delays := tallyOf(samples[0])
	f.add(name, "events", float64(len(delays.ok)))
	f.add(name, "p50", stat.Quantile(delays.ok, 0.5))
	f.add(name, "p99", stat.Quantile(delays.ok, 0.99))
	f.add(name, "max", stat.Quantile(delays.ok, 1))
	return nil
}
