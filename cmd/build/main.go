// Command build builds a Caddy binary with this project. It reads a serialized
// [xcaddy.Builder] (xcaddy.json in the root) and builds with the xcaddy
// library. Then it lists the modules of the new binary and fails if those of
// this project are missing: a build without the plugin must not look
// successful.
//
//	go run ./cmd/build [-config xcaddy.json] [-output bin/caddy] [-race]
//
// It downloads modules unless they are on the machine already. `go build
// ./cmd/caddy` needs no network.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/caddyserver/xcaddy"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
)

// options are the command line's flags.
type options struct {
	config string
	output string
	race   bool
}

func main() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	interrupt.Main("build", func(ctx context.Context) error { return build(ctx, opts, os.Stdout, os.Stderr) })
}

// parseOptions reads the flags; the flag package has already printed an error.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.config, "config", "xcaddy.json", "the serialized xcaddy.Builder")
	flags.StringVar(&opts.output, "output", filepath.Join("bin", "caddy"), "where the binary goes")
	flags.BoolVar(&opts.race, "race", false, "build with the race detector (needs a C compiler)")
	if err := flags.Parse(args); err != nil {
		return opts, fmt.Errorf("parse flags: %w", err)
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return opts, fmt.Errorf("unexpected argument '%s'", flags.Arg(0))
	}
	return opts, nil
}

// build builds the binary and verifies it.
func build(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	builder, err := readBuilder(opts.config)
	if err != nil {
		return err
	}
	builder.RaceDetector = builder.RaceDetector || opts.race
	output, err := filepath.Abs(opts.output)
	if err != nil {
		return fmt.Errorf("output path: %w", err)
	}
	if err := removeOld(output); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "build: Caddy %s with %d plugins into %s; the first build downloads and compiles all modules, which takes minutes\n",
		builder.CaddyVersion, len(builder.Plugins), opts.output)
	follow := &steps{log: stderr, replacements: builder.Replacements}
	builder.OnStep = follow.onStep(ctx)
	if err := builder.Build(ctx, output); err != nil {
		// An interrupted build fails with the last error of its step.
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		return fmt.Errorf("xcaddy: %w", err)
	}
	return verifyBuild(ctx, builder, output, stdout)
}

// sizeOf returns the size of a file in words.
func sizeOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "of unknown size"
	}
	return fmt.Sprintf("%d MB", info.Size()/1e6)
}

// removeOld removes an earlier build, so that it cannot pass for the new one.
func removeOld(output string) error {
	if err := os.Remove(output); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove the old binary: %w", err)
	}
	return nil
}

// verifyBuild verifies a binary that can run on this machine, and prints a note
// if it cannot.
func verifyBuild(ctx context.Context, builder xcaddy.Builder, output string, stdout io.Writer) error {
	if foreign(builder.Platform) {
		_, err := fmt.Fprintf(stdout, "%s: built for another platform, its modules are not verified\n", output)
		return err
	}
	version, err := verify(ctx, output)
	if err != nil {
		return fmt.Errorf("verify %s: %w", output, err)
	}
	_, err = fmt.Fprintf(stdout, "%s: Caddy %s with all modules of this project, %s\n", output, version, sizeOf(output))
	return err
}
