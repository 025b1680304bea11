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
	burstClients  = 100
	burstRequests = 5 // of each client
	burstService  = 200 * time.Millisecond
	burstLimit    = 8
	burstWorkers  = 10
	burstQueue    = 100
	burstPatience = 45 * time.Second // time at which the targets without a limit are stopped
)

// burstProbe is the duration of the probe of the fast route during the
// burst.
const burstProbe = 10 * time.Second

func runBurst(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	requests := pick(e, burstRequests, 2)
	ideal := burstService.Seconds() * float64(burstClients*requests) / burstLimit
	report := &Report{}
	report.Textf("100 clients x %d requests of 200 ms at once, limit 8: ideal %.1f s. Upstream: 10 workers that thrash.", requests, ideal)
	report.Textf("The configuration of s3, but queue %d and a longest wait of 10 s. 50 rps on a fast route of the same server.", burstQueue)
	report.Textf("What has not ended after 45 s is given up. Times in ms.\n")
	names := []target.Name{target.Caddy, target.CaddyMaxConns, target.HAProxy, target.NGINX, target.Offload}
	f := make(figures)
	err := e.interleave(ctx, names, func(ctx context.Context, name target.Name) error {
		return e.burst(ctx, name, requests, ideal, f)
	})
	if err != nil {
		return nil, err
	}
	columns := []string{
		"completed", "refused", "failed", "wall / ideal", "p50", "p99", "p99 / p50",
		"fast p50", "fast p99", "fast max", "fast failed", "max inside",
	}
	var rows [][]string
	for _, name := range e.chosen(names) {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	report.Table(append([]string{"target"}, columns...), rows)
	report.AtLeast("completed", f.median(target.Offload, "completed"), float64(burstClients*requests))
	report.AtMost("wall time against the ideal", f.median(target.Offload, "wall / ideal"), 1.03)
	report.AtMost("p99 / p50", f.median(target.Offload, "p99 / p50"), 1.10)
	report.AtMost("failed fast probes", f.median(target.Offload, "fast failed"), 0)
	return report, nil
}

func (e *Env) burst(ctx context.Context, name target.Name, requests int, ideal float64, f figures) (err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: burstLimit, Queue: burstQueue, MaxWait: 10 * time.Second},
		upstream.Config{
			Workers: burstWorkers, Backlog: 256, Thrash: 0.05,
			Routes: map[string]upstream.Route{
				target.SlowPath: {Service: burstService, Size: 128},
				target.FastPath: {Service: isolationFast, Size: 128},
			},
		})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	samples, err := e.streams(ctx, anyCore,
		load.Stream{
			Kind: load.Closed, Addr: at.Addr, Path: target.SlowPath + "/x", Clients: burstClients, Requests: requests,
			Duration: burstPatience, Timeout: burstPatience,
		},
		load.Stream{
			Kind: load.Open, Addr: at.Addr, Path: target.FastPath + "/x", Rate: 50,
			Duration: pick(e, burstProbe, 4*time.Second), Timeout: 5 * time.Second,
		},
	)
	if err != nil {
		return err
	}
	stats, err := at.slow.Stats(ctx)
	if err != nil {
		return err
	}
	f.burst(name, samples[0], samples[1], ideal)
	f.add(name, "max inside", float64(stats.MaxInside))
	return nil
}

func (f figures) burst(name target.Name, slow, fast []load.Sample, ideal float64) {
	var wall time.Duration
	for _, s := range slow {
		wall = max(wall, s.Start+s.Took)
	}
	requests, probes := tallyOf(slow), tallyOf(fast)
	p50, p99 := stat.Quantile(requests.ok, 0.5), stat.Quantile(requests.ok, 0.99)
	f.add(name, "completed", float64(len(requests.ok)))
	f.add(name, "refused", float64(len(requests.refused)))
	f.add(name, "failed", float64(requests.failed))
	f.add(name, "wall / ideal", wall.Seconds()/ideal)
	f.add(name, "p50", p50)
	f.add(name, "p99", p99)
	f.add(name, "p99 / p50", p99/p50)
	f.add(name, "fast p50", stat.Quantile(probes.ok, 0.5))
	f.add(name, "fast p99", stat.Quantile(probes.ok, 0.99))
	f.add(name, "fast max", stat.Quantile(probes.ok, 1))
	f.add(name, "fast failed", float64(len(fast)-len(probes.ok)))
}
