package scenario

import (
	"math"
	"strings"
	"testing"
)

const engineOutput = `goos: linux
pkg: github.com/caddy-offload/caddy-offload/offloader
BenchmarkAdmission/pool+breaker         	 2685290	       100.0 ns/op	      48 B/op	       1 allocs/op
BenchmarkAdmission/pool+breaker         	 2685290	       110.0 ns/op	      48 B/op	       1 allocs/op
BenchmarkAdmission/pool+breaker-2       	 2685290	       900.0 ns/op	      48 B/op	       1 allocs/op
BenchmarkRefusal/queue_full             	41297869	        29.76 ns/op	       0 B/op	       0 allocs/op
BenchmarkContended/semaphore-2          	  100000	       200.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkContended/pool-2               	  100000	       250.0 ns/op	       0 B/op	       0 allocs/op
BenchmarkManyWaiters/10-2               	  100000	       300.0 ns/op	       100.0 ns/arrival	       0 B/op	       0 allocs/op
BenchmarkManyWaiters/1000-2             	  100000	       400.0 ns/op	       120.0 ns/arrival	       0 B/op	       0 allocs/op
BenchmarkManyWaiters/100000-2           	  100000	       300.0 ns/op	       250.0 ns/arrival	       0 B/op	       0 allocs/op
PASS
ok  	github.com/caddy-offload/caddy-offload/offloader	3.1s
`

func TestBenchmarksAreParsed(t *testing.T) {
	b := parseBenchmarks(engineOutput)
	for _, c := range []struct {
		key  benchmark
		unit string
		want float64
	}{
		{benchmark{"Admission/pool+breaker", 1}, nsUnit, 105},
		{benchmark{"Admission/pool+breaker", 1}, bytesUnit, 48},
		{benchmark{"Admission/pool+breaker", 2}, nsUnit, 900},
		{benchmark{"Refusal/queue_full", 1}, allocsUnit, 0},
		{benchmark{"ManyWaiters/100000", 2}, "ns/arrival", 250},
	} {
		if got := b.median(c.key, c.unit); got != c.want {
			t.Errorf("%+v: %v %s, want %v", c.key, got, c.unit, c.want)
		}
	}
	if got := b.median(benchmark{"Gone", 1}, nsUnit); !math.IsNaN(got) {
		t.Errorf("a benchmark that did not run: %v, want NaN", got)
	}
	if got := b.others(benchmark{"ManyWaiters/10", 2}); got != "100 ns/arrival" {
		t.Errorf("other units %q", got)
	}
}

func TestEngineAims(t *testing.T) {
	var r Report
	r.engine(parseBenchmarks(engineOutput))
	wantAims(t, &r,
		"met         acquire and release with breaker, ns on one core: 105, aim <= 120",
		"MISSED      acquire and release with breaker, allocations: 1, aim <= 0",
		"MISSED      rejection with a full queue, ns: 29.8, aim <= 15",
		"met         rejection with a full queue, allocations: 0, aim <= 0",
		"met         Contended/pool, ns on two cores against the semaphore: 1.25, aim <= 1.30",
		"MISSED      ManyWaiters/100000 on 2 cores, ns/arrival against 10 waiters: 2.50, aim <= 2",
		"met         ManyWaiters/100000 on 2 cores, ns/op against 10 waiters: 1, aim <= 2",
	)
}

func TestHandlerAims(t *testing.T) {
	var r Report
	r.handler(parseBenchmarks(`
BenchmarkHandler/without 	 1000 	 100 ns/op 	 1000 B/op 	 10 allocs/op
BenchmarkHandler/breaker 	 1000 	 900 ns/op 	 1300 B/op 	 18 allocs/op
`))
	wantAims(t, &r,
		"MISSED      handler, allocations beyond plain: 8, aim <= 3",
		"met         handler, bytes beyond plain: 300, aim <= 410",
	)
}

func wantAims(t *testing.T, r *Report, want ...string) {
	t.Helper()
	_, text, _ := strings.Cut(r.String(), "\naims\n")
	if got := strings.TrimSpace(text); got != strings.Join(want, "\n") {
		t.Errorf("aims\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestNumbersOfNames(t *testing.T) {
	for name, want := range map[string]struct {
		before, after string
		n             int
	}{
		"ManyWaiters/10/arrival":    {"ManyWaiters/", "/arrival", 10},
		"ManyWaiters/waiters=10000": {"ManyWaiters/waiters=", "", 10000},
		"Refusal/queue_full":        {"Refusal/queue_full", "", 0},
	} {
		if before, after, n := splitNumber(name); before != want.before || after != want.after || n != want.n {
			t.Errorf("%s: %q, %q, %d", name, before, after, n)
		}
	}
}
