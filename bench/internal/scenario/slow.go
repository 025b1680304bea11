package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

const (
	slowClients = 50
	slowPace    = 64 << 10        // bytes per second
	slowSettle  = time.Second     // the first part, during which the slow clients arrive
	slowLook    = 4 * time.Second // when memory is read
	slowTimeout = 22 * time.Second
	slowPause   = 500 * time.Millisecond // pause after a rejection
)

// crawl is one direction of the slow clients scenario.
type crawl struct {
	kind   load.Kind
	path   string
	upload int           // bytes that each slow client sends
	window time.Duration // part in which the normal clients are measured: all slow ones are busy then
}

func crawls(e *Env) []crawl {
	return []crawl{
		{load.SlowReader, target.SlowPath + "/big", 0, pick(e, 15*time.Second, 5*time.Second)},
		{load.SlowWriter, target.SlowPath + "/upload", 512 << 10, pick(e, 8*time.Second, 5*time.Second)},
	}
}

func slowTargets(e *Env) []target.Name {
	return e.chosen(pick(e, []target.Name{
		target.Direct, target.Caddy, target.CaddyMaxConns, target.CaddyBuffers, target.HAProxy, target.HAProxyBig,
		target.NGINXMaxConns, target.OffloadNoSpool, target.Offload,
	}, []target.Name{target.CaddyMaxConns, target.HAProxyBig, target.Offload}))
}

func runSlowClients(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	report := &Report{}
	report.Textf("8 synchronous workers, each held until its answer has left; limit 6. 50 slow clients read 1 MiB or send")
	report.Textf("512 KiB at 64 KB/s with Ethernet-sized segments; 8 normal clients ask for 16 KiB of 20 ms beside them.")
	report.Textf("share: throughput of the normal clients against the same target without slow ones. done: slow clients")
	report.Textf("with a whole answer after %v; a refused one asks again. RSS: of the proxy after 4 s.\n", slowTimeout)
	for _, c := range crawls(e) {
		f := make(figures)
		err := e.interleave(ctx, slowTargets(e), func(ctx context.Context, name target.Name) error {
			alone, err := e.crawl(ctx, c, name, 0, nil)
			if err != nil {
				return err
			}
			f.add(name, "alone rps", alone)
			beside, err := e.crawl(ctx, c, name, slowClients, f)
			f.add(name, "rps", beside)
			f.add(name, "share", beside/alone)
			return err
		})
		if err != nil {
			return nil, err
		}
		report.slowClients(e, c, f)
	}
	return report, nil
}

// crawl runs one direction and returns the throughput of the normal clients. The
// other figures go to f, unless it is nil.
func (e *Env) crawl(ctx context.Context, c crawl, name target.Name, slow int, f figures) (rps float64, err error) {
	at, err := e.site(ctx, name,
		target.Plan{Limit: 6, Queue: 100, MaxWait: 30 * time.Second, Uploads: true},
		upstream.Config{
			Workers: 8, Backlog: 256, SendBuffer: 64 << 10,
			Routes: map[string]upstream.Route{
				target.SlowPath + "/normal": {Service: 20 * time.Millisecond, Size: 16 << 10},
				target.SlowPath + "/big":    {Service: 20 * time.Millisecond, Size: 1 << 20},
				target.SlowPath + "/upload": {Service: 20 * time.Millisecond, Size: 128},
			},
		})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	window := c.window
	if slow == 0 {
		window = pick(e, 4*time.Second, 2*time.Second)
	}
	streams := []load.Stream{{
		Kind: load.Closed, Addr: at.Addr, Path: target.SlowPath + "/normal", Clients: 8,
		Duration: window, Timeout: slowTimeout, Pause: 50 * time.Millisecond,
	}}
	if slow > 0 {
		streams = append(streams, load.Stream{
			Kind: c.kind, Addr: at.Addr, Path: c.path, Body: c.upload, Clients: slow, Requests: 1, Pace: slowPace,
			Duration: window, Timeout: slowTimeout, Pause: slowPause,
		})
	}
	memory := at.memoryAfter(slowLook)
	samples, err := e.streams(ctx, anyCore, streams...)
	if err != nil {
		return 0, err
	}
	rps, p99, refused := normalClients(samples[0], window)
	if f == nil {
		return rps, nil
	}
	crept := tallyOf(samples[1])
	f.add(name, "p99 ms", p99)
	f.add(name, "refused/s", refused)
	f.add(name, "done", float64(len(crept.ok)))
	f.add(name, "slow refused", float64(len(crept.refused)))
	f.add(name, "RSS MB", memory())
	return rps, nil
}

// normalClients leaves out the time in which the slow clients arrive.
func normalClients(samples []load.Sample, window time.Duration) (rps, p99, refusedPerSecond float64) {
	var took []time.Duration
	refused := 0
	for _, s := range samples {
		end := s.Start + s.Took
		switch {
		case end < slowSettle || end > window:
		case s.OK():
			took = append(took, s.Took)
		case s.Refused():
			refused++
		}
	}
	seconds := (window - slowSettle).Seconds()
	return float64(len(took)) / seconds, stat.Quantile(stat.Millis(took), 0.99), float64(refused) / seconds
}

// memoryAfter reads the resident memory of the target, in MB, once d has passed.
// The returned function waits for it.
func (s *site) memoryAfter(d time.Duration) func() float64 {
	read := make(chan float64, 1)
	time.AfterFunc(d, func() {
		var rss int64
		pids, err := s.PIDs()
		if err == nil {
			rss, err = proc.RSS(pids)
		}
		if err != nil {
			rss = 0 // the requests to a target that has ended fail anyway
		}
		read <- float64(rss) / 1e6
	})
	return func() float64 { return <-read }
}

func (r *Report) slowClients(e *Env, c crawl, f figures) {
	r.Textf("%ss, measured over %v", c.kind, c.window-slowSettle)
	columns := []string{"alone rps", "rps", "share", "p99 ms", "refused/s", "done", "slow refused", "RSS MB"}
	var rows [][]string
	for _, name := range slowTargets(e) {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	r.Table(append([]string{"target"}, columns...), rows)
	what := fmt.Sprintf("%ss, ", c.kind)
	r.AtLeast(what+"share of the throughput", f.median(target.Offload, "share"), 0.97)
	r.AtLeast(what+"slow clients done", f.median(target.Offload, "done"), slowClients)
	r.AtMost(what+"refusals", f.median(target.Offload, "refused/s")+f.median(target.Offload, "slow refused"), 0)
}
