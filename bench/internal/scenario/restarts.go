package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

// The numbers of GETs begin with 1, and those of POSTs far above.
const (
	firstGET  = 1
	firstPOST = 1_000_000
)

// The outage.
const (
	outageLimit  = 8
	outageRate   = 80.0             // half of what 8 permits can serve in a second
	outageAway   = 3 * time.Second  // from the kill until the upstream comes back
	outageHold   = 5 * time.Second  // of the breaker
	outageBudget = 10 * time.Second // of a client
	outageSlow   = 200 * time.Millisecond
	outageCalls  = 10.0 // most calls to an upstream that is dead for outageDead
	outageDead   = 10 * time.Second
)

var restartTargets = []target.Name{target.Caddy, target.HAProxy, target.Offload}

func runOutage(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 3
	f := make(figures)
	err := e.interleave(ctx, restartTargets, func(ctx context.Context, name target.Name) error {
		return trials{e, f}.outage(ctx, name)
	})
	if err != nil {
		return nil, err
	}
	report := &Report{}
	report.Textf("One upstream of %v, %d permits, half load: %.0f GETs and as many POSTs a second, %v each. It is",
		fleetRoute.Service, outageLimit, outageRate/2, outageBudget)
	report.Textf("killed and comes back after %v. haproxy: retries 3, redispatch. offload: breaker with a hold of %v.", outageAway, outageHold)
	report.Textf("lost unseen: failed POSTs that the upstream has not seen. twice: POSTs whose body it has read twice.")
	report.Textf("backlog: time from its return until answers take less than %v again. Sums of %d rounds, times in s.\n",
		outageSlow, e.rounds())
	columns := []string{"GETs", "failed GETs", "POSTs", "failed POSTs", "lost unseen", "twice"}
	var rows [][]string
	for _, name := range e.chosen(restartTargets) {
		row := []string{string(name)}
		for _, figure := range columns {
			row = append(row, number(f.sum(name, figure)))
		}
		rows = append(rows, append(row, number(f.most(name, "backlog")), number(f.most(name, "longest"))))
	}
	report.Table(append(append([]string{"target"}, columns...), "backlog", "longest"), rows)
	report.AtMost("failed GETs", f.sum(target.Offload, "failed GETs"), 0)
	report.AtMost("POSTs that ran twice", f.sum(target.Offload, "twice"), 0)
	report.AtMost("failed POSTs that had not reached the upstream", f.sum(target.Offload, "lost unseen"), 0)
	return report, runDead(ctx, e, report)
}

// getsAndPosts are two streams that share a rate.
func getsAndPosts(addr string, gets, posts float64, d time.Duration) []load.Stream {
	stream := load.Stream{
		Kind: load.Open, Addr: addr, Path: target.SlowPath + "/x", Rate: gets, First: firstGET,
		Duration: d, Timeout: outageBudget,
	}
	post := stream
	post.Rate, post.First, post.Body = posts, firstPOST, 100
	return []load.Stream{stream, post}
}

func outagePlan() target.Plan {
	return target.Plan{Queue: 2000, MaxWait: outageBudget, Hold: outageHold}
}

// outage kills the upstream of a target, which comes back.
func (t trials) outage(ctx context.Context, name target.Name) (err error) {
	at, err := t.fleet(ctx, name, outagePlan(), outageLimit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	before, after := pick(t.Env, 4*time.Second, 2*time.Second), pick(t.Env, 7*time.Second, 4*time.Second)
	result, err := at.beside(ctx, func(during context.Context) error {
		passed(during, before)
		if err := at.members[0].Kill(); err != nil {
			return err
		}
		return resume(during, outageAway, func() error { return at.members[0].Return(ctx) })
	}, getsAndPosts(at.Addr, outageRate/2, outageRate/2, before+outageAway+after)...)
	if err != nil {
		return err
	}
	entries, err := at.members[0].Journal()
	if err != nil {
		return err
	}
	t.survived(name, result, entries)
	return nil
}

// survived adds what clients and upstream have seen of an outage.
func (f figures) survived(name target.Name, result load.Result, entries []journal.Entry) {
	gets, posts := result.Streams[0], result.Streams[1]
	seen, read := journal.Times(entries, journal.Arrived), journal.Times(entries, journal.Read)
	unseen, twice := 0, 0
	for _, s := range posts {
		if !s.OK() && seen[s.Number] == 0 {
			unseen++
		}
		if read[s.Number] > 1 {
			twice++
		}
	}
	f.add(name, "GETs", float64(len(gets)))
	f.add(name, "POSTs", float64(len(posts)))
	f.add(name, "failed GETs", float64(len(gets)-len(tallyOf(gets).ok)))
	f.add(name, "failed POSTs", float64(len(posts)-len(tallyOf(posts).ok)))
	f.add(name, "lost unseen", float64(unseen))
	f.add(name, "twice", float64(twice))
	returned, _ := journal.Last(entries, journal.Serves)
	var longest, backlog time.Duration
	for _, samples := range result.Streams {
		for _, s := range samples {
			longest = max(longest, s.Took)
			if s.Took > outageSlow {
				backlog = max(backlog, result.Began.Add(s.Start+s.Took).Sub(returned))
			}
		}
	}
	f.add(name, "backlog", backlog.Seconds())
	f.add(name, "longest", longest.Seconds())
}

// deaths are the ways in which an upstream can be dead.
var deaths = []struct {
	name   string
	hangUp bool // it accepts connections, and closes them at once
}{{"refuses connections", false}, {"closes connections", true}}

// runDead measures how often the targets call a dead upstream.
func runDead(ctx context.Context, e *Env, report *Report) error {
	names := []target.Name{target.HAProxy, target.Offload}
	for _, death := range deaths {
		f := make(figures)
		for _, name := range e.chosen(names) {
			err := e.try(ctx, name, func(ctx context.Context, name target.Name) error {
				return trials{e, f}.dead(ctx, name, death.hangUp)
			})
			if err != nil {
				return err
			}
		}
		report.Textf("The upstream is dead for %v: it %s. calls: connections to it. answered: p50 and", outageDead, death.name)
		report.Textf("longest time until the clients of that time have an answer, in s.")
		columns := []string{"requests", "calls", "p50", "longest"}
		var rows [][]string
		for _, name := range e.chosen(names) {
			rows = append(rows, append([]string{string(name)}, f.cells(name, columns...)...))
		}
		report.Table(append([]string{"target"}, columns...), rows)
		report.AtMost(fmt.Sprintf("upstream that %s, calls in %v", death.name, outageDead), f.most(target.Offload, "calls"), outageCalls)
		e.logf("an upstream that %s done", death.name)
	}
	return nil
}

func (t trials) dead(ctx context.Context, name target.Name, hangUp bool) (err error) {
	at, err := t.fleet(ctx, name, outagePlan(), outageLimit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	const before = 2 * time.Second
	calls := 0
	result, err := at.beside(ctx, func(during context.Context) (err error) {
		passed(during, before)
		if err := at.members[0].Kill(); err != nil {
			return err
		}
		calls, err = countDead(during, at.members[0].Addr, hangUp)
		return err
	}, getsAndPosts(at.Addr, outageRate/2, outageRate/2, before+outageDead)...)
	if err != nil {
		return err
	}
	entries, err := at.members[0].Journal()
	if err != nil {
		return err
	}
	killed, _ := journal.Last(entries, journal.Killed)
	t.died(name, result, killed)
	t.add(name, "calls", float64(calls))
	return nil
}

// died adds what the clients have seen of an upstream that does not come back.
func (f figures) died(name target.Name, result load.Result, killed time.Time) {
	var took []time.Duration
	for _, samples := range result.Streams {
		for _, s := range samples {
			if !result.Began.Add(s.Start).Before(killed) {
				took = append(took, s.Took)
			}
		}
	}
	f.add(name, "requests", float64(len(took)))
	f.add(name, "p50", stat.Quantile(stat.Millis(took), 0.5)/1e3)
	f.add(name, "longest", stat.Quantile(stat.Millis(took), 1)/1e3)
}

// countDead counts the connections to an upstream while it is dead.
func countDead(ctx context.Context, addr string, hangUp bool) (calls int, err error) {
	counter, err := proc.CountCalls(addr)
	if err != nil {
		return 0, err
	}
	defer func() {
		var stopErr error
		calls, stopErr = counter.Stop()
		err = errors.Join(err, stopErr)
	}()
	if !hangUp {
		passed(ctx, outageDead)
		return 0, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return 0, fmt.Errorf("listening: %w", err)
	}
	go closeAll(listener)
	passed(ctx, outageDead)
	return 0, listener.Close()
}

// closeAll accepts connections and closes them, until the listener is closed.
func closeAll(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.Close() // it is of no use
	}
}

// The rolling restart.
const (
	rollingLimit = 4     // permits of each upstream
	rollingCount = 3     // upstreams
	rollingRate  = 120.0 // half of what they can serve in a second
	rollingAway  = time.Second
	rollingAim   = 2.0 // most of the p99 against that of a quiet run
)

func runRolling(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 2
	f := make(figures)
	err := e.interleave(ctx, restartTargets, func(ctx context.Context, name target.Name) error {
		return trials{e, f}.rolling(ctx, name)
	})
	if err != nil {
		return nil, err
	}
	report := &Report{}
	report.Textf("%d upstreams of %v with %d permits each and health checks, half load: %.0f requests a second, a fifth of them",
		rollingCount, fleetRoute.Service, rollingLimit, rollingRate)
	report.Textf("POSTs. Each is restarted, one after the other: it finishes its runs, ends, and comes back after %v.", rollingAway)
	report.Textf("quiet: the same time without restarts. Times in ms, medians of %d rounds; sums of failures.\n", e.rounds())
	var rows [][]string
	for _, name := range e.chosen(restartTargets) {
		row := append([]string{string(name)}, f.cells(name, "requests", "quiet p50", "quiet p99", "p50", "p99", "p99 / quiet")...)
		rows = append(rows, append(row,
			number(f.sum(name, "quiet failed")), number(f.sum(name, "failed GETs")), number(f.sum(name, "failed POSTs"))))
	}
	report.Table([]string{
		"target", "requests", "quiet p50", "quiet p99", "p50", "p99", "p99 / quiet", "quiet failed", "failed GETs", "failed POSTs",
	}, rows)
	report.AtMost("failed requests", f.sum(target.Offload, "failed GETs")+f.sum(target.Offload, "failed POSTs"), 0)
	report.AtMost("p99 against that of the quiet run", f.median(target.Offload, "p99 / quiet"), rollingAim)
	return report, nil
}

// rolling measures a target without restarts, and then with them.
func (t trials) rolling(ctx context.Context, name target.Name) (err error) {
	plan := target.Plan{Health: fleetHealth, Queue: 2000, MaxWait: outageBudget}
	at, err := t.fleet(ctx, name, plan, rollingLimit, rollingLimit, rollingLimit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	settle := pick(t.Env, 3*time.Second, time.Second) // after each restart
	d := time.Second + rollingCount*(rollingAway+settle+500*time.Millisecond)
	streams := getsAndPosts(at.Addr, 0.8*rollingRate, 0.2*rollingRate, d)
	quiet, err := t.Env.streams(ctx, anyCore, streams...)
	if err != nil {
		return err
	}
	result, err := at.beside(ctx, func(during context.Context) error {
		passed(during, time.Second)
		for _, member := range at.members {
			if err := member.Finish(); err != nil {
				return err
			}
			if err := resume(during, rollingAway, func() error { return member.Return(ctx) }); err != nil {
				return err
			}
			passed(during, settle)
		}
		return nil
	}, streams...)
	if err != nil {
		return err
	}
	t.restarted(name, quiet, result.Streams)
	return nil
}

// restarted adds the figures of a run without restarts, and of one with them. Both have GETs
// and POSTs.
func (f figures) restarted(name target.Name, quiet, restarts [][]load.Sample) {
	before, after := tallyOf(append(quiet[0], quiet[1]...)), tallyOf(append(restarts[0], restarts[1]...))
	sent := len(restarts[0]) + len(restarts[1])
	quietP99, p99 := stat.Quantile(before.ok, 0.99), stat.Quantile(after.ok, 0.99)
	f.add(name, "requests", float64(sent))
	f.add(name, "quiet p50", stat.Quantile(before.ok, 0.5))
	f.add(name, "quiet p99", quietP99)
	f.add(name, "p50", stat.Quantile(after.ok, 0.5))
	f.add(name, "p99", p99)
	f.add(name, "p99 / quiet", p99/quietP99)
	f.add(name, "quiet failed", float64(len(quiet[0])+len(quiet[1])-len(before.ok)))
	f.add(name, "failed GETs", float64(len(restarts[0])-len(tallyOf(restarts[0]).ok)))
	f.add(name, "failed POSTs", float64(len(restarts[1])-len(tallyOf(restarts[1]).ok)))
}
