package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

const (
	upstreamsClients = 100
	upstreamsSettle  = time.Second // the first part, during which the clients arrive
	upstreamsSeed    = 1           // of the times of the disturbances
)

// fleetRoute is the answer of all upstreams that can be killed.
var fleetRoute = upstream.Route{Service: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Size: 128}

// fleetHealth is the path of their health checks.
const fleetHealth = "/health"

// upstreamLimits are the permits of the two upstreams. The first is killed, the checks of the
// second fail from time to time.
var upstreamLimits = []int{4, 8}

// fleet is one target with upstreams that can be killed and come back.
type fleet struct {
	*target.Target

	env     *Env
	members []*upstream.Upstream
}

// trials run a target with a fleet behind it, and add their figures.
type trials struct {
	*Env
	figures
}

// fleet starts an upstream for each limit, and a target in front of them. The plan's servers
// are filled in.
func (t trials) fleet(ctx context.Context, name target.Name, plan target.Plan, limits ...int) (*fleet, error) {
	f := &fleet{env: t.Env}
	for _, limit := range limits {
		addr, err := upstream.FreeAddr()
		if err != nil {
			return nil, errors.Join(err, f.stop())
		}
		file, err := os.CreateTemp(t.Dir, "journal-")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("journal: %w", err), f.stop())
		}
		member, err := t.upstream(ctx, anyCore, upstream.Config{
			Addr: addr, Journal: file.Name(), Health: fleetHealth,
			Routes: map[string]upstream.Route{target.SlowPath: fleetRoute},
		})
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, errors.Join(err, f.stop())
		}
		f.members = append(f.members, member)
		plan.Servers = append(plan.Servers, target.Server{Addr: addr, Limit: limit})
	}
	plan.Core = anyCore
	var err error
	if f.Target, err = t.target(ctx, name, plan); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// stop ends the target and the upstreams.
func (f *fleet) stop() error {
	var err error
	if f.Target != nil {
		err = f.Stop()
	}
	for _, member := range f.members {
		err = errors.Join(err, member.Stop())
	}
	return err
}

// journals returns the entries of each upstream.
func (f *fleet) journals() ([][]journal.Entry, error) {
	var all [][]journal.Entry
	for _, member := range f.members {
		entries, err := member.Journal()
		if err != nil {
			return nil, err
		}
		all = append(all, entries)
	}
	return all, nil
}

// beside sends the streams, and calls act meanwhile. Its context ends with the load.
func (f *fleet) beside(ctx context.Context, act func(context.Context) error, streams ...load.Stream) (load.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	acted := make(chan error, 1)
	go func() {
		err := act(ctx)
		if err != nil {
			cancel() // the load is of no use
		}
		acted <- err
	}()
	var result load.Result
	err := f.env.load(ctx, anyCore, load.ServeStreams, load.Job{Streams: streams}, &result)
	cancel()
	if err = errors.Join(<-acted, err); err == nil && len(result.Streams) != len(streams) {
		err = errors.New("load process: results are missing")
	}
	return result, err
}

// passed waits for d. It returns false if the context ends first.
func passed(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func runUpstreams(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 8
	quiet, disturbed := make(figures), make(figures)
	names := []target.Name{target.HAProxy, target.Offload}
	err := e.interleave(ctx, names, func(ctx context.Context, name target.Name) error {
		return trials{e, quiet}.upstreams(ctx, name, false)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range e.chosen(names) {
		err := e.try(ctx, name, func(ctx context.Context, name target.Name) error {
			return trials{e, disturbed}.upstreams(ctx, name, true)
		})
		if err != nil {
			return nil, err
		}
		e.logf("disturbances of %s done", name)
	}
	report := &Report{}
	report.Textf("Two upstreams of %v with a jitter of %v, 4 and 8 permits, one queue: at most 240 rps. %d clients ask all the time.",
		fleetRoute.Service, fleetRoute.Jitter, upstreamsClients)
	report.Textf("most: highest number of runs that an upstream has counted inside. idle: time of a permit between two runs, in ms.")
	report.Textf("no upstream: answers 503 with that reason in the log; in service: while a healthy upstream was there.\n")
	report.Textf("without disturbances, medians of %d rounds", e.rounds())
	reportUpstreams(report, e.chosen(names), quiet)
	report.Textf("The first upstream is killed and comes back after 0.5 to 1.5 s; or the health checks of the second fail for")
	report.Textf("that time. Caddy loads its configuration again meanwhile, every 0.7 to 2 s.")
	reportUpstreams(report, e.chosen(names), disturbed)
	aimUpstreams(report, quiet, disturbed)
	return report, nil
}

// upstreams measures a target.
func (t trials) upstreams(ctx context.Context, name target.Name, disturbed bool) (err error) {
	d := pick(t.Env, 7*time.Second, 4*time.Second)
	if disturbed {
		d = pick(t.Env, 40*time.Second, 8*time.Second)
	}
	at, err := t.fleet(ctx, name, target.Plan{Health: fleetHealth, Queue: 200, MaxWait: 30 * time.Second}, upstreamLimits...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	var done disturbances
	result, err := at.beside(ctx, func(during context.Context) (err error) {
		if disturbed {
			done, err = at.disturb(ctx, during)
		}
		return err
	}, load.Stream{
		Kind: load.Closed, Addr: at.Addr, Path: target.SlowPath + "/x", Clients: upstreamsClients,
		Duration: d, Timeout: time.Minute, Cut: 2 * time.Second, Pause: 10 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	journals, err := at.journals()
	if err != nil {
		return err
	}
	lines, err := at.Errors()
	if err != nil {
		return err
	}
	t.add(name, "killed", float64(done.kills))
	t.add(name, "ill", float64(done.flaps))
	t.add(name, "reloads", float64(done.reloads))
	t.answers(name, result.Streams[0], d)
	t.permits(name, journals)
	t.unavailable(name, lines, journals)
	return nil
}

// disturbances are the numbers of the disturbances of a fleet.
type disturbances struct{ kills, flaps, reloads int }

// disturb disturbs a fleet until the second context ends. Only one of the two upstreams is
// out of service at a time.
func (f *fleet) disturb(ctx, during context.Context) (disturbances, error) {
	var done disturbances
	reloaded := make(chan error, 1)
	go func() {
		var err error
		random := rand.New(rand.NewPCG(upstreamsSeed, 1))
		for f.Name != target.HAProxy && err == nil && passed(during, between(random, 700*time.Millisecond, 2*time.Second)) {
			err = f.Reload()
			done.reloads++
		}
		reloaded <- err
	}()
	random := rand.New(rand.NewPCG(upstreamsSeed, 2))
	var err error
	for err == nil && passed(during, between(random, 500*time.Millisecond, 1500*time.Millisecond)) {
		away := between(random, 500*time.Millisecond, 1500*time.Millisecond)
		if random.IntN(3) == 0 {
			done.flaps++
			err = errors.Join(f.members[1].SetHealth(ctx, false), resume(during, away, func() error {
				return f.members[1].SetHealth(ctx, true)
			}))
			continue
		}
		done.kills++
		if err = f.members[0].Kill(); err == nil {
			err = resume(during, away, func() error { return f.members[0].Return(ctx) })
		}
	}
	return done, errors.Join(err, <-reloaded)
}

// resume calls again after some time, or when the context ends.
func resume(ctx context.Context, d time.Duration, again func() error) error {
	passed(ctx, d)
	return again()
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// answers adds what the clients have got.
func (f figures) answers(name target.Name, samples []load.Sample, d time.Duration) {
	ended, unavailable, failed := 0, 0, 0
	for _, s := range samples {
		end := s.Start + s.Took
		switch {
		case s.OK() && end > upstreamsSettle && end <= d:
			ended++
		case s.Status == 503:
			unavailable++
		case !s.OK():
			failed++
		}
	}
	f.add(name, "rps", float64(ended)/(d-upstreamsSettle).Seconds())
	f.add(name, "503", float64(unavailable))
	f.add(name, "other failures", float64(failed))
}

// permits adds what the upstreams have counted.
func (f figures) permits(name target.Name, journals [][]journal.Entry) {
	var gaps []time.Duration
	for i, entries := range journals {
		f.add(name, fmt.Sprintf("most of %d", upstreamLimits[i]), float64(journal.MostInside(entries)))
		gaps = append(gaps, journal.Idle(entries, upstreamLimits[i])...)
	}
	idle := stat.Millis(gaps)
	f.add(name, "idle p50", stat.Quantile(idle, 0.5))
	f.add(name, "p99", stat.Quantile(idle, 0.99))
	f.add(name, "max", stat.Quantile(idle, 1))
}

// Caddy needs a moment until it has read the answer of a health check, and acted on it.
const checkDelay = 50 * time.Millisecond

// unavailable counts the answers that Caddy has given for want of an upstream.
func (f figures) unavailable(name target.Name, lines []target.LogLine, journals [][]journal.Entry) {
	total, wrong := 0, 0
	for _, line := range lines {
		if !strings.Contains(line.Msg, "no upstreams available") {
			continue
		}
		total++
		if slices.ContainsFunc(journals, func(entries []journal.Entry) bool {
			return journal.InService(entries, line.At(), checkDelay)
		}) {
			wrong++
		}
	}
	f.add(name, "no upstream", float64(total))
	f.add(name, "in service", float64(wrong))
}

func reportUpstreams(r *Report, names []target.Name, f figures) {
	columns := []string{
		"rps", "most of 4", "most of 8", "idle p50", "p99", "max", "503", "no upstream", "in service", "other failures",
		"killed", "ill", "reloads",
	}
	var rows [][]string
	for _, name := range names {
		rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
	}
	r.Table(append([]string{"target"}, columns...), rows)
}

func aimUpstreams(r *Report, quiet, disturbed figures) {
	r.AtLeast("throughput against haproxy, without disturbances",
		quiet.ratio(target.Offload, target.HAProxy, "rps").Mid, 0.99)
	for _, part := range []struct {
		about string
		figures
	}{{"without disturbances", quiet}, {"with disturbances", disturbed}} {
		about, f := part.about, part.figures
		for _, limit := range upstreamLimits {
			r.AtMost(fmt.Sprintf("%s, most runs inside the upstream with %d permits", about, limit),
				f.most(target.Offload, fmt.Sprintf("most of %d", limit)), float64(limit))
		}
		r.AtMost(about+", ms that a permit is idle, p99", f.median(target.Offload, "p99"), 5)
		r.AtMost(about+", answers without an upstream while one was in service", f.most(target.Offload, "in service"), 0)
	}
}
