package scenario

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

// fill adds the value to each of the rounds.
func fill(f figures, name target.Name, figure string, rounds int, value float64) {
	for range rounds {
		f.add(name, figure, value)
	}
}

func TestOverheadAims(t *testing.T) {
	size := overheadSizes()[3]
	f := make(figures)
	for name, cpu := range map[target.Name]float64{
		target.Caddy: 100, target.CaddyAgain: 102, target.OffloadNoSpool: 101, target.Offload: 120,
		target.CaddyUsual: 200, target.OffloadUsual: 202,
	} {
		fill(f, name, cpuFigure, 24, cpu)
		fill(f, name, rpsFigure, 24, 1e6/cpu)
		fill(f, name, p50Figure, 24, cpu)
		fill(f, name, p99Figure, 24, 2*cpu)
	}
	env := &Env{Only: []target.Name{target.Caddy, target.CaddyAgain, target.OffloadNoSpool, target.Offload, target.CaddyUsual, target.OffloadUsual}}
	var r Report
	r.overhead(env, size, f)
	text := r.String()
	for _, line := range []string{
		"met         offload-nospool, 1048576 bytes, CPU per request against caddy: 1.010 [1.010, 1.010]x, aim <= 1.01x",
		"met         offload-nospool, 1048576 bytes, p50 at half load against caddy: 1.010 [1.010, 1.010]x, aim <= 1.020x, the spread of caddy-again",
		"MISSED      offload, 1048576 bytes, CPU per request against caddy: 1.200 [1.200, 1.200]x, aim <= 1.08x",
		"MISSED      offload, 1048576 bytes, throughput against caddy: 0.833 [0.833, 0.833]x, aim >= 0.95x",
		"MISSED      offload, 1048576 bytes, p50 at half load against caddy",
		"MISSED      offload, 1048576 bytes, p99 at half load against caddy",
		"1048576 bytes, 8 connections, 24 rounds",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing:\n%s", line, text)
		}
	}
	if got := f.ratioToPair(target.OffloadUsual, cpuFigure).Mid; got != 1.01 {
		t.Errorf("offload-usual is %v of its pair, want 1.01", got)
	}
	if len(r.aims) != 7 {
		t.Errorf("%d aims, want only those of what was measured", len(r.aims))
	}
}

func TestRatiosLeaveOutRoundsWithoutAValue(t *testing.T) {
	f := make(figures)
	for i := range 6 {
		f.add(target.Caddy, p50Figure, 100)
		f.add(target.Offload, p50Figure, []float64{math.NaN(), 110}[min(i, 1)])
	}
	if got := f.ratioToPair(target.Offload, p50Figure); got.Low != 1.1 || got.Mid != 1.1 || !got.Sure {
		t.Errorf("ratio %+v, want 1.1 from five rounds", got)
	}
}

// A size goes on while one of its ratios is not precise, but not without end and
// not beyond the rounds that the command line asks for.
func TestRoundsGoOnUntilDecided(t *testing.T) {
	size := overheadSizes()[0]
	f := make(figures)
	fill(f, target.Caddy, cpuFigure, overheadRounds, 100)
	fill(f, target.Offload, cpuFigure, overheadRounds, 104)
	env := &Env{defaultRounds: overheadRounds}
	if env.undecided(size, f, overheadRounds) {
		t.Error("goes on with a precise ratio")
	}
	for i := range f[target.Offload][cpuFigure] {
		f[target.Offload][cpuFigure][i] += float64(i)
	}
	if !env.undecided(size, f, overheadRounds) {
		t.Error("ends with a wide interval")
	}
	if env.undecided(size, f, 2*overheadRounds) {
		t.Error("goes on without end")
	}
	for _, env := range []*Env{{Quick: true}, {Rounds: 5}} {
		if env.undecided(size, f, overheadRounds) {
			t.Errorf("%+v: goes on", env)
		}
	}
}

func TestEventAims(t *testing.T) {
	f := make(figures)
	for name, p99 := range map[target.Name]float64{
		target.Caddy: 0.60, target.CaddyAgain: 0.65, target.OffloadNoSpool: 0.74, target.Offload: 0.80,
	} {
		fill(f, name, "p99", 5, p99)
		fill(f, name, "p50", 5, p99/2)
		fill(f, name, "events", 5, eventClients*eventCount)
	}
	var r Report
	r.events(&Env{}, []target.Name{target.Caddy, target.Offload}, f)
	wantAims(t, &r,
		"met         offload-nospool, events: 480, aim >= 480",
		"met         offload-nospool, ms added to the p99 of an event: +0.140 [+0.140, +0.140], noise 0.050, aim <= 0.10",
		"met         offload, events: 480, aim >= 480",
		"MISSED      offload, ms added to the p99 of an event: +0.200 [+0.200, +0.200], noise 0.050, aim <= 0.10",
	)
}

func TestMemoryAims(t *testing.T) {
	f := make(figures)
	for name, kb := range map[target.Name]float64{target.CaddyBlock: 12, target.CaddyMaxConns: 30, target.OffloadNoSpool: 13, target.Offload: 19} {
		fill(f, name, waitingFigure, 5, kb)
	}
	var r Report
	r.waiting([]target.Name{target.CaddyBlock, target.Offload}, f)
	wantAims(t, &r,
		"met         offload-nospool, KB of a waiting request beyond caddy-block: +1.000 [+1.000, +1.000], aim <= 1.50",
		"met         offload-nospool, waiting request against caddy-mcph: 0.43, aim <= 0.80",
		"MISSED      offload, KB of a waiting request beyond caddy-block: +7.000 [+7.000, +7.000], aim <= 1.50",
		"met         offload, waiting request against caddy-mcph: 0.63, aim <= 0.80",
	)
}

func TestStreamAims(t *testing.T) {
	f := make(figures)
	result := func(kb float64) load.CrowdResult {
		return load.CrowdResult{
			Start: 1 << 20, Waiting: 1<<20 + int64(kb*1024*idleStreams), Answered: idleStreams, QueueCPU: time.Second,
		}
	}
	for range 9 {
		f.streams(target.Caddy, result(100))
		f.streams(target.CaddyAgain, result(100))
		f.streams(target.OffloadNoSpool, result(105))
		f.streams(target.Offload, result(126))
	}
	var r Report
	r.streams([]target.Name{target.Caddy, target.Offload}, f)
	wantAims(t, &r,
		"met         offload-nospool, idle event streams: 500, aim >= 500",
		"met         offload-nospool, memory of an idle event stream against caddy: 1.050 [1.050, 1.050]x, aim <= 1.05x",
		"met         offload, idle event streams: 500, aim >= 500",
		"MISSED      offload, memory of an idle event stream against caddy: 1.260 [1.260, 1.260]x, aim <= 1.05x",
	)
}

func TestStartAims(t *testing.T) {
	f := make(figures)
	for name, x := range map[target.Name]float64{target.CaddyPlain: 50, target.OffloadNoCelery: 52, target.Offload: 56} {
		fill(f, name, startFigure, 5, x)
		fill(f, name, idleFigure, 5, x)
		fill(f, name, sizeFigure, 5, x)
	}
	var r Report
	r.start([]target.Name{target.CaddyPlain, target.OffloadNoCelery, target.Offload}, f)
	wantAims(t, &r,
		"met         offload-nocelery, start to the first answer, ms beyond plain Caddy: +2.000 [+2.000, +2.000], aim <= 5",
		"met         offload-nocelery, idle memory, MB beyond plain Caddy: +2.000 [+2.000, +2.000], aim <= 2",
		"MISSED      offload, start to the first answer, ms beyond plain Caddy: +6.000 [+6.000, +6.000], aim <= 5",
		"MISSED      offload, idle memory, MB beyond plain Caddy: +6.000 [+6.000, +6.000], aim <= 2",
		"met         offload-nocelery, size of the program, MB beyond plain Caddy: 2, aim <= 5",
	)
}
