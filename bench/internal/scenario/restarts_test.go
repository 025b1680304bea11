package scenario

import (
	"errors"
	"math"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

const ms = time.Millisecond

// began is the time at which the loads of these tests have begun.
var began = time.UnixMilli(1_000_000)

// entry is an entry of a journal, in milliseconds of the load.
func entry(at int, kind journal.Kind, number int) journal.Entry {
	return journal.Entry{At: began.Add(time.Duration(at) * ms), Kind: kind, Number: number}
}

// want compares figures of one repetition.
func (f figures) want(t *testing.T, name target.Name, want map[string]float64) {
	t.Helper()
	for figure, value := range want {
		if got := f[name][figure]; len(got) != 1 || math.Abs(got[0]-value) > 1e-9 {
			t.Errorf("%s: %v, want %v", figure, got, value)
		}
	}
}

func TestMostAndSum(t *testing.T) {
	f := make(figures)
	for _, value := range []float64{0, 2, 1} {
		f.add(target.Offload, "failed", value)
	}
	if most, sum := f.most(target.Offload, "failed"), f.sum(target.Offload, "failed"); most != 2 || sum != 3 {
		t.Errorf("most %v, sum %v", most, sum)
	}
	if most, sum := f.most(target.Caddy, "failed"), f.sum(target.Caddy, "failed"); !math.IsNaN(most) || !math.IsNaN(sum) {
		t.Errorf("of nothing: most %v, sum %v", most, sum)
	}
}

// The upstream is killed at 2 s and returns at 5 s.
func TestOutageFigures(t *testing.T) {
	result := load.Result{Began: began, Streams: [][]load.Sample{
		{
			{Number: 1, Start: 1000 * ms, Took: 60 * ms, Status: 200},
			{Number: 2, Start: 2000 * ms, Took: 4500 * ms, Status: 200},
			{Number: 3, Start: 2100 * ms, Took: 10 * ms, Status: 502},
			{Number: 4, Start: 8000 * ms, Took: 60 * ms, Status: 200},
		},
		{
			{Number: 11, Start: 1990 * ms, Took: 20 * ms, Status: 502}, // inside when the upstream was killed
			{Number: 12, Start: 2500 * ms, Took: 10 * ms, Status: 503},
			{Number: 13, Start: 2600 * ms, Took: 3000 * ms, Status: 200},
			{Number: 14, Start: 2700 * ms, Took: 10_000 * ms},
		},
	}}
	f := make(figures)
	f.survived(target.Offload, result, []journal.Entry{
		entry(0, journal.Serves, 0),
		entry(1990, journal.Arrived, 11), entry(1991, journal.Read, 11),
		entry(1995, journal.Arrived, 13), entry(1996, journal.Read, 13),
		entry(2000, journal.Killed, 0), entry(5000, journal.Serves, 0),
		entry(5500, journal.Arrived, 13), entry(5501, journal.Read, 13), entry(5560, journal.Left, 13),
	})
	f.want(t, target.Offload, map[string]float64{
		"GETs": 4, "failed GETs": 1, "POSTs": 4, "failed POSTs": 3, "lost unseen": 2, "twice": 1,
		"backlog": 7.7, "longest": 10,
	})
}

// Without a slow request there is no backlog.
func TestNoBacklog(t *testing.T) {
	result := load.Result{Began: began, Streams: [][]load.Sample{{{Start: 1000 * ms, Took: 60 * ms, Status: 200}}, nil}}
	f := make(figures)
	f.survived(target.Caddy, result, []journal.Entry{entry(0, journal.Serves, 0)})
	f.want(t, target.Caddy, map[string]float64{"backlog": 0, "longest": 0.06, "lost unseen": 0, "twice": 0})
}

func TestDeadUpstreamCountsFromItsEnd(t *testing.T) {
	f := make(figures)
	f.died(target.Offload, load.Result{Began: began, Streams: [][]load.Sample{
		{{Start: 1999 * ms, Took: 9000 * ms}, {Start: 2001 * ms, Took: 5000 * ms, Status: 503}},
		{{Start: 3000 * ms, Took: 10 * ms, Status: 503}},
	}}, began.Add(2000*ms))
	f.want(t, target.Offload, map[string]float64{"requests": 2, "p50": 0.01, "longest": 5})
}

func TestRollingFigures(t *testing.T) {
	f := make(figures)
	f.restarted(target.Offload,
		[][]load.Sample{{{Took: 50 * ms, Status: 200}, {Took: 60 * ms, Status: 200}}, {{Took: 40 * ms, Status: 502}}},
		[][]load.Sample{{{Took: 90 * ms, Status: 200}, {Took: 10 * ms}}, {{Took: 30 * ms, Status: 200}, {Took: 5 * ms, Status: 502}}})
	f.want(t, target.Offload, map[string]float64{
		"requests": 4, "quiet p50": 50, "quiet p99": 60, "p50": 30, "p99": 90, "p99 / quiet": 1.5,
		"quiet failed": 1, "failed GETs": 1, "failed POSTs": 1,
	})
}

func TestUpstreamsFigures(t *testing.T) {
	f := make(figures)
	f.answers(target.Offload, []load.Sample{
		{Start: 0, Took: 900 * ms, Status: 200}, // before the clients have settled
		{Start: 900 * ms, Took: 200 * ms, Status: 200},
		{Start: 2900 * ms, Took: 100 * ms, Status: 200},
		{Start: 2950 * ms, Took: 100 * ms, Status: 200}, // after the end
		{Start: 2000 * ms, Took: ms, Status: 503},
		{Start: 2000 * ms, Took: ms, Status: 502},
		{Start: 2000 * ms, Took: ms},
	}, 3*time.Second)
	f.want(t, target.Offload, map[string]float64{"rps": 1, "503": 1, "other failures": 2})
}

func TestPermitsOfBothUpstreams(t *testing.T) {
	f := make(figures)
	one := []journal.Entry{entry(0, journal.Arrived, 0), entry(50, journal.Left, 0), entry(52, journal.Arrived, 0)}
	f.permits(target.Offload, [][]journal.Entry{one, slices.Concat(one, []journal.Entry{entry(53, journal.Arrived, 0)})})
	f.want(t, target.Offload, map[string]float64{"most of 4": 1, "most of 8": 2, "idle p50": 2, "p99": 2, "max": 2})
}

func TestAnswersWithoutUpstreamAreWrongWhileOneIsInService(t *testing.T) {
	line := func(at int, msg string) target.LogLine {
		return target.LogLine{TS: float64(began.UnixMilli()+int64(at)) / 1e3, Level: "error", Msg: msg}
	}
	f := make(figures)
	f.unavailable(target.Offload, []target.LogLine{
		line(200, "no upstreams available"),
		line(200, "EOF"),
		line(1500, "no upstreams available"),
	}, [][]journal.Entry{
		{entry(0, journal.Serves, 0), entry(100, journal.Well, 0), entry(1000, journal.Killed, 0)},
		{entry(0, journal.Serves, 0), entry(100, journal.Ill, 0)},
	})
	f.want(t, target.Offload, map[string]float64{"no upstream": 2, "in service": 1})
}

func TestDeadUpstreamsAreCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls, err := proc.CountCalls(listener.Addr().String())
	if errors.Is(err, syscall.EPERM) {
		t.Skip("needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeAll(listener)
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection was not closed")
	}
	_ = conn.Close()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	<-closed
	if got, err := calls.Stop(); err != nil || got != 1 {
		t.Errorf("%d calls, %v, want 1", got, err)
	}
}
