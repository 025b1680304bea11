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

// waitingFigure is the memory of a waiting request.
const waitingFigure = "waiting KB"

// waitAim is the memory in KB that a waiting request of offload may need in addition to
// that of a request of a handler that only blocks.
const waitAim = 1.5

var memoryTargets = []target.Name{
	target.Caddy, target.CaddyBlock, target.CaddyMaxConns, target.HAProxy,
	target.OffloadNoSpool, target.Offload, target.OffloadBefore,
}

func runMemory(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 5
	var err error
	if e.Programs.Blocking, err = e.Build(ctx, "blocking", "./bench/internal/caddy/blocking"); err != nil {
		return nil, err
	}
	clients := pick(e, 9000, 1000)
	report := &Report{}
	report.Textf("%d connections, then one request over each; limit 8, the upstream answers none.", clients)
	report.Textf("idle, waiting: resident memory per connection, and what a waiting request adds to it. after: all gone.")
	report.Textf("caddy has no limit: its requests wait inside the upstream, each over a connection of its own.")
	report.Textf("caddy-block is a handler of Caddy that only blocks: what any waiting request costs.")
	report.Textf("max inside counts the probes of the fast route too, and what starts when the waiting clients leave.\n")
	f := make(figures)
	err = e.interleave(ctx, memoryTargets, func(ctx context.Context, name target.Name) error {
		return e.waiting(ctx, name, clients, f)
	})
	if err != nil {
		return nil, err
	}
	report.waiting(e.chosen(memoryTargets), f)
	return report, e.idleStreams(ctx, report)
}

func (r *Report) waiting(names []target.Name, f figures) {
	columns := []string{
		"idle KB", waitingFigure, "total MB", "after MB", "CPU us to queue", "CPU ms/s while waiting",
		"ended early", "fast p50 ms", "fast p99 ms", "max inside",
	}
	var rows [][]string
	for _, name := range names {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	r.Table(append([]string{"target"}, columns...), rows)
	for _, name := range []target.Name{target.OffloadNoSpool, target.Offload} {
		waiting := f.median(name, waitingFigure)
		r.DifferenceAtMost(fmt.Sprintf("%s, KB of a waiting request beyond caddy-block", name),
			f.beyond(name, target.CaddyBlock, waitingFigure), waitAim, 0)
		r.AtMost(fmt.Sprintf("%s, waiting request against caddy-mcph", name), waiting/f.median(target.CaddyMaxConns, waitingFigure), 0.8)
		r.AtMost(fmt.Sprintf("%s, CPU ms per second while waiting", name), f.median(name, "CPU ms/s while waiting"), 5)
		r.AtMost(fmt.Sprintf("%s, requests that ended early", name), f.median(name, "ended early"), burstLimit)
	}
}

// waiting measures a target with all its clients waiting.
func (e *Env) waiting(ctx context.Context, name target.Name, clients int, f figures) error {
	job := load.CrowdJob{
		Path: target.SlowPath + "/x", FastPath: target.FastPath + "/x",
		Header: memoryHeader, Clients: clients, Watch: pick(e, 5*time.Second, 500*time.Millisecond),
	}
	plan := target.Plan{Limit: burstLimit, Queue: 10_000, MaxWait: 10 * time.Minute}
	result, inside, err := e.crowd(ctx, name, plan, upstream.Route{Service: time.Hour, Size: 128}, job)
	if err != nil {
		return err
	}
	f.crowd(name, job, result)
	f.add(name, "max inside", float64(inside))
	return nil
}

// crowd runs a job with a target, whose slow route is the given one. It returns the
// most requests inside the upstream too.
func (e *Env) crowd(
	ctx context.Context, name target.Name, plan target.Plan, slow upstream.Route, job load.CrowdJob,
) (result load.CrowdResult, inside int, err error) {
	at, err := e.site(ctx, name, plan, upstream.Config{Routes: map[string]upstream.Route{
		target.SlowPath: slow,
		target.FastPath: {Size: 128},
	}})
	if err != nil {
		return result, 0, err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	job.Addr = at.Addr
	if job.PIDs, err = at.PIDs(); err != nil {
		return result, 0, err
	}
	if err := e.load(ctx, anyCore, load.ServeCrowd, job, &result); err != nil {
		return result, 0, err
	}
	stats, err := at.slow.Stats(ctx)
	return result, stats.MaxInside, err
}

func (f figures) crowd(name target.Name, job load.CrowdJob, result load.CrowdResult) {
	perClient := func(bytes int64) float64 { return float64(bytes) / 1024 / float64(job.Clients) }
	f.add(name, "idle KB", perClient(result.Idle-result.Start))
	f.add(name, waitingFigure, perClient(result.Waiting-result.Idle))
	f.add(name, "total MB", float64(result.Waiting)/1e6)
	f.add(name, "after MB", float64(result.After)/1e6)
	f.add(name, "CPU us to queue", float64(result.QueueCPU.Microseconds())/float64(job.Clients))
	f.add(name, "CPU ms/s while waiting", float64(result.WaitCPU.Microseconds())/1e3/job.Watch.Seconds())
	f.add(name, "ended early", float64(result.Answered))
	fast := tallyOf(result.Fast)
	f.add(name, "fast p50 ms", stat.Quantile(fast.ok, 0.5))
	f.add(name, "fast p99 ms", stat.Quantile(fast.ok, 0.99))
}

const (
	idleStreams = 500
	streamAim   = 1.05 // most memory of a stream against plain Caddy
)

var streamTargets = []target.Name{
	target.Caddy, target.CaddyAgain, target.CaddyMaxConns, target.HAProxy, target.NGINX,
	target.OffloadNoSpool, target.Offload, target.OffloadBefore,
}

// idleStreams measures event streams that have had their first event and get no
// other.
func (e *Env) idleStreams(ctx context.Context, report *Report) error {
	e.defaultRounds = 9
	f := make(figures)
	err := e.interleave(ctx, streamTargets, func(ctx context.Context, name target.Name) error {
		return e.idleStream(ctx, name, f)
	})
	if err != nil {
		return err
	}
	report.streams(e.chosen(streamTargets), f)
	return nil
}

func (e *Env) idleStream(ctx context.Context, name target.Name, f figures) error {
	job := load.CrowdJob{
		Path: target.SlowPath + "/x", FastPath: target.FastPath + "/x",
		Header: memoryHeader, Clients: idleStreams, Watch: pick(e, time.Second, 200*time.Millisecond),
	}
	plan := target.Plan{Limit: 2 * idleStreams, Queue: 100, MaxWait: time.Minute}
	result, _, err := e.crowd(ctx, name, plan, upstream.Route{Events: 1, Hold: time.Hour}, job)
	if err != nil {
		return err
	}
	f.streams(name, result)
	return nil
}

// The figures of idle event streams.
const (
	streamFigure = "KB per stream"
	openFigure   = "streams"
)

func (f figures) streams(name target.Name, result load.CrowdResult) {
	f.add(name, openFigure, float64(result.Answered))
	f.add(name, "start MB", float64(result.Start)/1e6)
	f.add(name, "open MB", float64(result.Waiting)/1e6)
	f.add(name, "after MB", float64(result.After)/1e6)
	f.add(name, streamFigure, float64(result.Waiting-result.Start)/1024/idleStreams)
	f.add(name, "CPU us to open", float64(result.QueueCPU.Microseconds())/idleStreams)
}

func (r *Report) streams(names []target.Name, f figures) {
	r.Textf("%d event streams that are idle after their first event. KB per stream: all that they add to the", idleStreams)
	r.Textf("resident memory, with their connections. x: median of the ratios to caddy of the same round.")
	columns := []string{openFigure, "start MB", "open MB", "after MB", "CPU us to open", streamFigure}
	var rows [][]string
	for _, name := range names {
		row := append([]string{string(name)}, f.cells(name, columns...)...)
		rows = append(rows, append(row, interval(f.ratioToPair(name, streamFigure))))
	}
	r.Table(append([]string{"target"}, append(columns, "x")...), rows)
	for _, name := range []target.Name{target.OffloadNoSpool, target.Offload} {
		r.AtLeast(string(name)+", idle event streams", f.median(name, openFigure), idleStreams)
		r.RatioAtMost(string(name)+", memory of an idle event stream against caddy",
			f.ratioToPair(name, streamFigure), streamAim, f.deviation(streamFigure))
	}
}
