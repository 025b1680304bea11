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
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/load"
	"github.com/caddy-offload/caddy-offload/bench/internal/scenario"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
	"github.com/caddy-offload/caddy-offload/bench/internal/upstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
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
	out       string // folder of the results; empty: print only
	caddy     string // built program; empty: build it
	scenarios []scenario.Scenario
	command   string // command that repeats this run
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "few and short repetitions; results are printed, not kept")
	flags.IntVar(&o.rounds, "rounds", 0, "repetitions (default: as each scenario needs)")
	flags.StringVar(&o.caddy, "caddy", "", "measure this program instead of building ./cmd/caddy")
	flags.StringVar(&o.out, "out", "", "folder for the results (default: bench/results, none with -quick)")
	only := flags.String("targets", "", "measure only these targets, separated by commas")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return options{}, fmt.Errorf("command line: %w", err)
	}
	for name := range strings.SplitSeq(*only, ",") {
		if name != "" {
			o.only = append(o.only, target.Name(name))
		}
	}
	o.command = strings.Join(append([]string{"go", "run", "./bench"}, args...), " ")
	var err error
	o.scenarios, err = scenario.Find(flags.Args())
	return o, err
}

func usage(flags *flag.FlagSet) {
	fmt.Fprintln(flags.Output(), "usage: go run ./bench [flags] [scenario ...]\n\nscenarios (default: all)")
	for _, s := range scenario.All() {
		fmt.Fprintf(flags.Output(), "  %-4s %s\n", s.Name, s.Title)
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
	missed := 0
	for _, s := range o.scenarios {
		fmt.Fprintln(os.Stderr, s.Title)
		began := time.Now()
		report, err := s.Run(ctx, env)
		if err != nil {
			return err
		}
		missed += report.Missed()
		text := describe(ctx, env, o, s, began) + report.String()
		fmt.Println(text)
		if err := keep(o.out, s.Name, text); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "%d aims missed\n", missed)
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
