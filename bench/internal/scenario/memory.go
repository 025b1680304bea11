package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

// memoryHeader has the size of the header that a browser sends after a
// login, at least.
const memoryHeader = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n" +
	"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"

var memoryTargets = []target.Name{
	target.Caddy, target.CaddyMaxConns, target.HAProxy, target.OffloadNoSpool, target.Offload,
}

func runMemory(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	clients := pick(e, 9000, 1000)
	report := &Report{}
	report.Textf("%d connections, then one request over each; limit 8, the upstream answers none.", clients)
	report.Textf("idle, waiting: resident memory per connection, and what a waiting request adds to it. after: all gone.")
	report.Textf("caddy has no limit: its requests wait inside the upstream, each over a connection of its own.")
	report.Textf("max inside counts the probes of the fast route too, and what starts when the waiting clients leave.\n")
	f := make(figures)
	err := e.interleave(ctx, memoryTargets, func(ctx context.Context, name target.Name) error {
		return e.crowd(ctx, name, clients, f)
	})
	if err != nil {
		return nil, err
	}
	columns := []string{
		"idle KB", "waiting KB", "total MB", "after MB", "CPU us to queue", "CPU ms/s while waiting",
		"ended early", "fast p50 ms", "fast p99 ms", "max inside",
	}
	var rows [][]string
	for _, name := range e.chosen(memoryTargets) {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	report.Table(append([]string{"target"}, columns...), rows)
	for _, name := range []target.Name{target.OffloadNoSpool, target.Offload} {
		waiting := f.median(name, "waiting KB")
		report.AtMost(fmt.Sprintf("%s, KB per waiting request", name), waiting, 30)
		report.AtMost(fmt.Sprintf("%s, waiting request against caddy-mcph", name), waiting/f.median(target.CaddyMaxConns, "waiting KB"), 0.8)
		report.AtMost(fmt.Sprintf("%s, CPU ms per second while waiting", name), f.median(name, "CPU ms/s while waiting"), 5)
		report.AtMost(fmt.Sprintf("%s, requests that ended early", name), f.median(name, "ended early"), burstLimit)
	}
	return report, nil
}

func (e *Env) crowd(ctx context.Context, name target.Name, clients int, f figures) (err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: burstLimit, Queue: 10_000, MaxWait: 10 * time.Minute},
		upstream.Config{Routes: map[string]upstream.Route{
			target.SlowPath: {Service: time.Hour, Size: 128},
			target.FastPath: {Size: 128},
		}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	pids, err := at.PIDs()
	if err != nil {
		return err
	}
	job := load.CrowdJob{
		Addr: at.Addr, PIDs: pids, Path: target.SlowPath + "/x", FastPath: target.FastPath + "/x",
		Header: memoryHeader, Clients: clients, Watch: pick(e, 5*time.Second, time.Second),
	}
	var result load.CrowdResult
	if err := e.load(ctx, anyCore, load.ServeCrowd, job, &result); err != nil {
		return err
	}
	stats, err := at.slow.Stats(ctx)
	if err != nil {
		return err
	}
	f.crowd(name, job, result)
	f.add(name, "max inside", float64(stats.MaxInside))
	return nil
}

func (f figures) crowd(name target.Name, job load.CrowdJob, result load.CrowdResult) {
	perClient := func(bytes int64) float64 { return float64(bytes) / 1024 / float64(job.Clients) }
	f.add(name, "idle KB", perClient(result.Idle-result.Start))
	f.add(name, "waiting KB", perClient(result.Waiting-result.Idle))
	f.add(name, "total MB", float64(result.Waiting)/1e6)
	f.add(name, "after MB", float64(result.After)/1e6)
	f.add(name, "CPU us to queue", float64(result.QueueCPU.Microseconds())/float64(job.Clients))
	f.add(name, "CPU ms/s while waiting", float64(result.WaitCPU.Microseconds())/1e3/job.Watch.Seconds())
	f.add(name, "ended early", float64(result.Answered))
	fast := tallyOf(result.Fast)
	f.add(name, "fast p50 ms", stat.Quantile(fast.ok, 0.5))
	f.add(name, "fast p99 ms", stat.Quantile(fast.ok, 0.99))
}
