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

const (
	eventCount   = 20
	eventEvery   = 50 * time.Millisecond
	eventClients = 4
)

func runEvents(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 5
	report := &Report{}
	report.Textf("%d clients read %d events that are sent %v apart: delay of an event in ms.\n", eventClients, eventCount, eventEvery)
	names := []target.Name{
		target.Direct, target.Caddy, target.CaddyBuffers, target.HAProxy, target.NGINX, target.OffloadNoSpool, target.Offload,
	}
	f := make(figures)
	err := e.interleave(ctx, names, func(ctx context.Context, name target.Name) error {
		return e.events(ctx, name, f)
	})
	if err != nil {
		return nil, err
	}
	columns := []string{"events", "p50", "p99", "max"}
	var rows [][]string
	for _, name := range e.chosen(names) {
		row := append([]string{string(name)}, f.cells(name, columns...)...)
		rows = append(rows, append(row, times(f.median(name, "p50")/f.median(target.Caddy, "p50"))))
	}
	report.Table(append([]string{"target"}, append(columns, "p50 x caddy")...), rows)
	for _, name := range []target.Name{target.OffloadNoSpool, target.Offload} {
		report.AtLeast(string(name)+", events", f.median(name, "events"), eventCount*eventClients)
		report.RatioAtMost(string(name)+", p50 of the delay against caddy", ratioTo(f, name, "p50"), 1.2)
	}
	return report, nil
}

func (e *Env) events(ctx context.Context, name target.Name, f figures) (err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: 8, Queue: 64, MaxWait: 10 * time.Second},
		upstream.Config{Routes: map[string]upstream.Route{
			target.SlowPath: {Events: eventCount, Every: eventEvery},
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
