// Command bench compares caddy-offload with other proxies: it builds Caddy,
// starts upstreams, proxies and load on loopback ports, runs the scenarios of
// internal/scenario and writes their figures as text.
//
// It is not a test: no time can fail a build. It needs a quiet Linux machine with
// HAProxy and NGINX (bench/setup installs them).
//
//	go run ./bench [flags] [scenario ...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/scenario"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
	"github.com/caddy-offload/caddy-offload/internal/interrupt"
)

func main() {
	interrupt.Main("bench", func(ctx context.Context) error { return run(ctx, os.Args[1:]) })
}

// run is the bench itself, or one of the processes that it starts.
func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == scenario.UpstreamCommand:
		return upstream.Serve(ctx, os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == scenario.LoadCommand:
		return load.Serve(ctx, args[1], os.Stdin, os.Stdout)
	}
	o, err := parse(args)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	return measure(ctx, o)
}

// options are the flags of the command line.
type options struct {
	quick     bool
	rounds    int
	only      []target.Name
	sizes     []int  // of s1, in bytes
	out       string // folder of the results; empty: print only
	caddy     string // built program; empty: build it
	before    string // an earlier one, to compare with; empty without
	scenarios []scenario.Scenario
	flags     []string // as on the command line
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "few and short repetitions; results are printed, not kept")
	flags.IntVar(&o.rounds, "rounds", 0, "repetitions (default: as each scenario needs)")
	flags.StringVar(&o.caddy, "caddy", "", "measure this program instead of building ./cmd/caddy")
	flags.StringVar(&o.before, "before", "", "compare with this earlier program too, as the target offload-before")
	flags.StringVar(&o.out, "out", "", "folder for the results (default: bench/results, none with -quick)")
	only := flags.String("targets", "", "measure only these targets, separated by commas")
	sizes := flags.String("sizes", "", "measure only these sizes of s1, in bytes, separated by commas")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return options{}, fmt.Errorf("command line: %w", err)
	}
	for name := range strings.FieldsFuncSeq(*only, isComma) {
		o.only = append(o.only, target.Name(name))
	}
	for text := range strings.FieldsFuncSeq(*sizes, isComma) {
		size, err := strconv.Atoi(text)
		if err != nil {
			return options{}, fmt.Errorf("flag -sizes: %w", err)
		}
		o.sizes = append(o.sizes, size)
	}
	o.flags = args[:len(args)-flags.NArg()]
	var err error
	o.scenarios, err = scenario.Find(flags.Args())
	return o, err
}

// command returns the command that repeats one scenario.
func (o options) command(s scenario.Scenario) string {
	return strings.Join(slices.Concat([]string{"go", "run", "./bench"}, o.flags, []string{s.Name}), " ")
}

func isComma(r rune) bool { return r == ',' }

func usage(flags *flag.FlagSet) {
	fmt.Fprintln(flags.Output(), "usage: go run ./bench [flags] [scenario ...]\n\nscenarios (default: all)")
	for _, s := range scenario.All() {
		fmt.Fprintf(flags.Output(), "  %-9s %s\n", s.Name, s.Title)
	}
	fmt.Fprintln(flags.Output(), "\nflags")
	flags.PrintDefaults()
}

// measure runs the scenarios in a temporary folder.
func measure(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "offload-bench-")
	if err != nil {
		return fmt.Errorf("temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	env, err := prepare(ctx, o, dir)
	if err != nil {
		return err
	}
	if o.out == "" && !o.quick {
		o.out = filepath.Join(env.Root, "bench", "results")
	}
	missed, undecided := 0, 0
	for _, s := range o.scenarios {
		fmt.Fprintln(os.Stderr, s.Title)
		began := time.Now()
		report, err := s.Run(ctx, env)
		if err != nil {
			return err
		}
		missed += report.Missed()
		undecided += report.Undecided()
		text := describe(ctx, env, o, s, began) + report.String()
		fmt.Println(text)
		if err := keep(o.out, s.Name, text); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "%d aims missed, %d not decided\n", missed, undecided)
	return nil
}

func keep(dir, name, text string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("keeping result: %w", err)
	}
	return nil
}
