package scenario

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

// The limits of the Go benchmarks.
const (
	admissionAim = 120.0 // ns of an acquire and release with clock and breaker
	contendedAim = 1.3   // of that against a semaphore, with many goroutines
	refusalAim   = 15.0  // ns
	waitersAim   = 2.0   // of a step with the most waiters against that with fewWaiters
	fewWaiters   = 10
	allocsAim    = 3.0 // of the handler, beyond those of the handler behind it
	bytesAim     = 0.4 * 1024
)

// runMicro runs the benchmarks of the engine and of the handler.
func runMicro(ctx context.Context, e *Env) (*Report, error) {
	e.defaultRounds = 6
	report := &Report{}
	report.Textf("Medians of %d runs each.\n", e.rounds())
	engine, err := e.benchmarks(ctx, report, "./offloader", "Admission|Refusal|Contended|ManyWaiters", "1,2")
	if err != nil {
		return nil, err
	}
	report.engine(engine)
	handler, err := e.benchmarks(ctx, report, "./caddymodule", "Handler", "1")
	if err != nil {
		return nil, err
	}
	report.handler(handler)
	return report, nil
}

// benchmarks runs benchmarks of a package and adds their table.
func (e *Env) benchmarks(ctx context.Context, report *Report, folder, pattern, cores string) (benchmarks, error) {
	command := []string{
		"go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-cpu", cores,
		"-count", strconv.Itoa(e.rounds()), "-benchtime", pick(e, "1s", "50ms"), folder,
	}
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Dir = e.Root
	output, err := process.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test: %w: %s", err, output)
	}
	b := parseBenchmarks(string(output))
	report.Textf("%s", strings.Join(command, " "))
	report.benchmarks(b)
	return b, nil
}

func (r *Report) benchmarks(b benchmarks) {
	var rows [][]string
	for _, key := range b.sorted() {
		row := []string{key.name, strconv.Itoa(key.cores)}
		for _, unit := range []string{nsUnit, bytesUnit, allocsUnit} {
			row = append(row, number(b.median(key, unit)))
		}
		rows = append(rows, append(row, b.others(key)))
	}
	r.Table([]string{"benchmark", "cores", nsUnit, bytesUnit, allocsUnit, "other"}, rows)
}

// engine adds the aims of the engine's benchmarks.
func (r *Report) engine(b benchmarks) {
	admission := benchmark{"Admission/pool+breaker", 1}
	r.AtMost("acquire and release with breaker, ns on one core", b.median(admission, nsUnit), admissionAim)
	r.AtMost("acquire and release with breaker, allocations", b.median(admission, allocsUnit), 0)
	refusal := benchmark{"Refusal/queue_full", 1}
	r.AtMost("rejection with a full queue, ns", b.median(refusal, nsUnit), refusalAim)
	r.AtMost("rejection with a full queue, allocations", b.median(refusal, allocsUnit), 0)
	semaphore := b.median(benchmark{"Contended/semaphore", 2}, nsUnit)
	for _, key := range b.sorted() {
		if strings.HasPrefix(key.name, "Contended/") && key.name != "Contended/semaphore" && key.cores == 2 {
			r.AtMost(key.name+", ns on two cores against the semaphore", b.median(key, nsUnit)/semaphore, contendedAim)
		}
	}
	r.manyWaiters(b)
}

// manyWaiters compares each benchmark with many waiters with the same one with few waiters.
func (r *Report) manyWaiters(b benchmarks) {
	for _, key := range b.sorted() {
		few, many, has := waitersOf(b, key)
		if !has {
			continue
		}
		for _, unit := range b.units(few) {
			if strings.HasPrefix(unit, "ns/") {
				what := fmt.Sprintf("%s on %d cores, %s against %d waiters", many.name, many.cores, unit, fewWaiters)
				r.AtMost(what, b.median(many, unit)/b.median(few, unit), waitersAim)
			}
		}
	}
}

// waitersOf returns the benchmark with the most waiters for one with few.
func waitersOf(b benchmarks, few benchmark) (_, many benchmark, has bool) {
	before, after, n := splitNumber(few.name)
	if !strings.HasPrefix(few.name, "ManyWaiters/") || n != fewWaiters {
		return few, many, false
	}
	most := n
	for key := range b {
		keyBefore, keyAfter, m := splitNumber(key.name)
		if keyBefore == before && keyAfter == after && key.cores == few.cores && m > most {
			many, most = key, m
		}
	}
	return few, many, most > n
}

// splitNumber splits a name at its first number, and returns 0 if it has none.
func splitNumber(name string) (before, after string, n int) {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	first := strings.IndexFunc(name, isDigit)
	if first < 0 {
		return name, "", 0
	}
	after = strings.TrimLeftFunc(name[first:], isDigit)
	n, err := strconv.Atoi(name[first : len(name)-len(after)])
	if err != nil {
		return name, "", 0
	}
	return name[:first], after, n
}

// handler adds the aims of the handler's benchmarks.
func (r *Report) handler(b benchmarks) {
	beyond := func(unit string) float64 {
		return b.median(benchmark{"Handler/breaker", 1}, unit) - b.median(benchmark{"Handler/without", 1}, unit)
	}
	r.AtMost("handler, allocations beyond plain", beyond(allocsUnit), allocsAim)
	r.AtMost("handler, bytes beyond plain", beyond(bytesUnit), bytesAim)
}

// benchmark identifies a Go benchmark.
type benchmark struct {
	name  string // without "Benchmark"
	cores int
}

// benchmarks has the values of all runs by their units.
type benchmarks map[benchmark]map[string][]float64

// The units of every benchmark.
const (
	nsUnit     = "ns/op"
	bytesUnit  = "B/op"
	allocsUnit = "allocs/op"
)

// parseBenchmarks reads the output of `go test -bench`.
func parseBenchmarks(output string) benchmarks {
	b := make(benchmarks)
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		key := benchmark{strings.TrimPrefix(fields[0], "Benchmark"), 1}
		// Go leaves the number of cores out if it is one.
		if i := strings.LastIndexByte(key.name, '-'); i >= 0 {
			if cores, err := strconv.Atoi(key.name[i+1:]); err == nil {
				key = benchmark{key.name[:i], cores}
			}
		}
		if b[key] == nil {
			b[key] = make(map[string][]float64)
		}
		for pair := range slices.Chunk(fields[2:], 2) {
			if value, err := strconv.ParseFloat(pair[0], 64); err == nil && len(pair) == 2 {
				b[key][pair[1]] = append(b[key][pair[1]], value)
			}
		}
	}
	return b
}

// median returns NaN for a benchmark or a unit that did not run.
func (b benchmarks) median(key benchmark, unit string) float64 { return stat.Median(b[key][unit]) }

func (b benchmarks) sorted() []benchmark {
	return slices.SortedFunc(maps.Keys(b), func(x, y benchmark) int {
		if x.name != y.name {
			return strings.Compare(x.name, y.name)
		}
		return x.cores - y.cores
	})
}

// units returns the units of a benchmark in their order.
func (b benchmarks) units(key benchmark) []string {
	return slices.Sorted(maps.Keys(b[key]))
}

// others formats the values in units that only this benchmark has.
func (b benchmarks) others(key benchmark) string {
	var texts []string
	for _, unit := range b.units(key) {
		if unit != nsUnit && unit != bytesUnit && unit != allocsUnit {
			texts = append(texts, number(b.median(key, unit))+" "+unit)
		}
	}
	return strings.Join(texts, ", ")
}
