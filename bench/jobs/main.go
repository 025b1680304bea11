// Command jobs measures what jobs cost, in ratios to the same work without them, and how the
// store behaves when it is full of jobs:
//
//	go run ./bench/jobs            # writes bench/results/jobs.txt; about a quarter of an hour
//	go run ./bench/jobs -quick     # short rounds and few jobs, printed only: does it still work?
//	go run ./bench/jobs tails idle # some of the parts, printed only
//
// It needs nothing but Go. It compares in rounds, in which the targets take turns, and shows
// the medians of the ratios of the rounds.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
)

// options of a run.
type options struct {
	quick  bool
	rounds int
	length time.Duration
	stored int // jobs of the full store
	parts  []string
}

// allParts are the parts in their order.
var allParts = []string{"requests", "late", "tails", "idle", "engine", "cycles", "full"}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "short rounds and few jobs, and no file of results")
	flag.Parse()
	o.parts = flag.Args()
	if len(o.parts) == 0 {
		o.parts = allParts
	}
	o.rounds, o.length, o.stored = 9, 4*time.Second, 1_000_000
	if o.quick {
		o.rounds, o.length, o.stored = 3, time.Second, 20_000
	}
	interrupt.Main("jobs", func(ctx context.Context) error { return run(ctx, o) })
}

// bench is one run.
type bench struct {
	options

	root, folder string
	out          bytes.Buffer
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o}
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	b.root = filepath.Dir(strings.TrimSpace(string(gomod)))
	if b.folder, err = os.MkdirTemp("", "bench-jobs-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(b.folder)
	b.printf("go run ./bench/jobs\n%s, %d cores, %s\n", runtime.Version(), runtime.NumCPU(), b.commit(ctx))
	parts := map[string]func(context.Context) error{
		"requests": b.requests, "late": b.lateReads, "tails": b.tails, "idle": b.idle,
		"engine": b.engine, "cycles": b.cycles, "full": b.fullStore,
	}
	for _, name := range o.parts {
		if parts[name] == nil {
			return fmt.Errorf("unknown part %q: the parts are %s", name, strings.Join(allParts, ", "))
		}
		if err := parts[name](ctx); err != nil {
			return err
		}
	}
	if o.quick || len(o.parts) < len(allParts) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(b.root, "bench", "results", "jobs.txt"), b.out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// commit returns the commit of the program that is measured.
func (b *bench) commit(ctx context.Context) string {
	text, err := exec.CommandContext(ctx, "git", "-C", b.root, "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown commit"
	}
	return "commit " + strings.TrimSpace(string(text))
}

// printf adds to the results, and shows them.
func (b *bench) printf(format string, args ...any) {
	fmt.Fprintf(io.MultiWriter(os.Stdout, &b.out), format, args...)
}

// aim prints a ratio with the bound that it should keep to.
func (b *bench) aim(what string, got float64, bound string, kept bool) {
	verdict := "met"
	if !kept {
		verdict = "MISSED"
	}
	b.printf("%-70s %6.2f   aim %-8s %s\n", what, got, bound, verdict)
}

// cycles compares the whole life of a job with JetStream, whose module only the module of
// that comparison needs.
func (b *bench) cycles(ctx context.Context) error {
	b.printf("\nThe whole life of a job: accepted, run, ended. The aim is 2.5 times JetStream.\n\n")
	for _, clients := range []int{1, 32} {
		cmd := exec.CommandContext(ctx, "go", "run", ".",
			"-rounds", fmt.Sprint(b.rounds), "-clients", fmt.Sprint(clients), "-length", b.length.String())
		cmd.Dir, cmd.Stderr = filepath.Join(b.root, "bench", "peers", "jetstream"), os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("comparing with JetStream: %w", err)
		}
		b.printf("%s", text)
	}
	return nil
}
