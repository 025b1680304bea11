// Package scenario runs the scenarios of the bench and reports their figures:
// the requests to the targets, the number of repetitions, and the aims of the
// offload targets. It does not generate load itself and starts every server in a
// separate process.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

// Scenario is one measurement.
type Scenario struct {
	Name  string // name on the command line, and of its result file
	Title string
	run   func(context.Context, *Env) (*Report, error)
}

// All returns the scenarios in their order.
func All() []Scenario {
	return []Scenario{
		{"s1", "S1 overhead: CPU per request and p50 without contention", runOverhead},
		{"s2", "S2 isolation: a fast route beside a blocking one", runIsolation},
		{"s3", "S3 overload: goodput of an upstream that thrashes", runOverload},
		{"s4", "S4 burst: 100 clients x 5 requests of 200 ms", runBurst},
		{"s5", "S5 slow clients beside normal ones", runSlowClients},
		{"s7", "S7 admission: Go benchmarks of the engine and the handler", runMicro},
		{"s8", "S8 memory of waiting requests and idle event streams", runMemory},
		{"s9", "S9 start: first answer, idle memory and size of the program", runStart},
		{"upstreams", "upstreams: two upstreams with permits of their own, while one is killed, ill, and reloaded", runUpstreams},
		{"outage", "outage: the only upstream is killed and comes back, or is dead", runOutage},
		{"rolling", "rolling: three upstreams are restarted one after the other", runRolling},
		{"sse", "SSE: delay of server-sent events", runEvents},
	}
}

// Find returns the scenarios with the given names, or all for none.
func Find(names []string) ([]Scenario, error) {
	if len(names) == 0 {
		return All(), nil
	}
	var found []Scenario
	for _, name := range names {
		i := slices.IndexFunc(All(), func(s Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown scenario %q", name)
		}
		found = append(found, All()[i])
	}
	return found, nil
}

// Run runs the scenario.
func (s Scenario) Run(ctx context.Context, env *Env) (*Report, error) {
	env.failed = make(map[target.Name]error)
	report, err := s.run(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(env.failed)) {
		report.Notef("%s was not measured to the end: %v", name, env.failed[name])
	}
	return report, nil
}

// interleave calls trial for each target, all of them once and then all again, forwards and
// backwards in turn. A target that fails is noted and left out of the further rounds; the
// others go on.
func (e *Env) interleave(
	ctx context.Context, names []target.Name, trial func(context.Context, target.Name) error,
) error {
	names = e.chosen(names)
	for round := range e.rounds() {
		order := slices.Clone(names)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			if err := e.try(ctx, name, trial); err != nil {
				return err
			}
		}
		e.logf("round %d of %d done", round+1, e.rounds())
	}
	return nil
}

// try runs one trial of a target that has not failed yet.
func (e *Env) try(ctx context.Context, name target.Name, trial func(context.Context, target.Name) error) error {
	if e.failed[name] != nil {
		return nil
	}
	err := trial(ctx, name)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", errors.Join(context.Cause(ctx), err))
	}
	if err != nil {
		e.failed[name] = err
		e.logf("%s: %v", name, err)
	}
	return nil
}
