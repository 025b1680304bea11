package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

// The arguments with which the bench starts itself for its child processes.
const (
	UpstreamCommand = "upstream"
	LoadCommand     = "load"
)

// The cores of an overhead measurement: one for the proxy, one for all other
// processes.
const (
	loadCore  = 0
	proxyCore = 1
	anyCore   = -1
)

// Env has the settings that all scenarios share.
type Env struct {
	Root     string // root folder of the module
	Dir      string // folder for temporary files
	Self     string // program of the bench
	Programs target.Programs
	Quick    bool          // few and short repetitions, to try the bench
	Rounds   int           // repetitions; 0: the default of the scenario
	Only     []target.Name // measure only these; empty: all
	Sizes    []int         // measure only these sizes of s1, in bytes; empty: all
	Log      io.Writer     // progress

	defaultRounds int                   // of the scenario that runs
	failed        map[target.Name]error // of the scenario that runs
}

// rounds returns the number of measurements of each target.
func (e *Env) rounds() int {
	switch {
	case e.Rounds > 0:
		return e.Rounds
	case e.Quick:
		return 1
	default:
		return e.defaultRounds
	}
}

// chosen returns those of the names that are to be measured.
func (e *Env) chosen(names []target.Name) []target.Name {
	return slices.DeleteFunc(slices.Clone(names), func(n target.Name) bool {
		return (n == target.OffloadBefore && e.Programs.Before == "") || (len(e.Only) > 0 && !slices.Contains(e.Only, n))
	})
}

// pick returns the first value, or the second for a quick run.
func pick[T any](e *Env, full, quick T) T {
	if e.Quick {
		return quick
	}
	return full
}

func (e *Env) logf(format string, args ...any) {
	// An error of the progress line does not stop the bench.
	_, _ = fmt.Fprintf(e.Log, format+"\n", args...)
}

// Build builds the program of a package of this module and returns its path, with
// further flags for `go build`.
func (e *Env) Build(ctx context.Context, name, folder string, flags ...string) (string, error) {
	program := filepath.Join(e.Dir, name)
	e.logf("building %s", folder)
	command := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", program}, flags, []string{folder})...)
	command.Dir, command.Stderr = e.Root, e.Log
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", folder, err)
	}
	return program, nil
}

// pinned puts the command on one core, unless core is anyCore.
func (e *Env) pinned(core int, command ...string) []string {
	if core == anyCore {
		return command
	}
	return append([]string{e.Programs.Taskset, "-c", strconv.Itoa(core)}, command...)
}

// upstream starts an upstream process on a core.
func (e *Env) upstream(ctx context.Context, core int, config upstream.Config) (*upstream.Upstream, error) {
	return upstream.Start(ctx, e.pinned(core, e.Self, UpstreamCommand), config)
}

// target starts a target.
func (e *Env) target(ctx context.Context, name target.Name, plan target.Plan) (*target.Target, error) {
	return target.Start(ctx, e.Programs, e.Dir, name, plan)
}

// streams runs a job in a load process.
func (e *Env) streams(ctx context.Context, core int, streams ...load.Stream) ([][]load.Sample, error) {
	var result load.Result
	err := e.load(ctx, core, load.ServeStreams, load.Job{Streams: streams}, &result)
	if err == nil && len(result.Streams) != len(streams) {
		err = errors.New("load process: results are missing")
	}
	return result.Streams, err
}

// load runs a job of the given kind in a load process and fills result.
func (e *Env) load(ctx context.Context, core int, kind string, job, result any) error {
	input, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("load job: %w", err)
	}
	command := e.pinned(core, e.Self, LoadCommand, kind)
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Stdin = bytes.NewReader(input)
	var words bytes.Buffer
	process.Stderr = &words
	output, err := process.Output()
	if err != nil {
		return fmt.Errorf("load process: %w: %s", err, bytes.TrimSpace(words.Bytes()))
	}
	if err := json.Unmarshal(output, result); err != nil {
		return fmt.Errorf("load result: %w", err)
	}
	return nil
}

// site is one target with the upstream behind it.
type site struct {
	*target.Target

	slow, fast *upstream.Upstream // the same one, unless the scenario has two
}

// site starts one upstream and a target in front of it. The plan's addresses
// are filled in.
func (e *Env) site(ctx context.Context, name target.Name, plan target.Plan, config upstream.Config) (*site, error) {
	up, err := e.upstream(ctx, anyCore, config)
	if err != nil {
		return nil, err
	}
	return e.siteBefore(ctx, name, plan, up, up)
}

// siteBefore starts a target in front of started upstreams, which then belong
// to the site.
func (e *Env) siteBefore(
	ctx context.Context, name target.Name, plan target.Plan, slow, fast *upstream.Upstream,
) (*site, error) {
	plan.Slow, plan.Fast, plan.Core = slow.Addr, fast.Addr, anyCore
	s := &site{slow: slow, fast: fast}
	t, err := e.target(ctx, name, plan)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.Target = t
	return s, nil
}

// stop ends the target and its upstreams.
func (s *site) stop() error {
	var err error
	if s.Target != nil {
		err = s.Stop()
	}
	err = errors.Join(err, s.slow.Stop())
	if s.fast != s.slow {
		err = errors.Join(err, s.fast.Stop())
	}
	return err
}
