package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/scenario"
	"github.com/caddy-offload/caddy-offload/bench/internal/target"
)

// prepare finds or builds all programs that the scenarios need.
func prepare(ctx context.Context, o options, dir string) (*scenario.Env, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding own program: %w", err)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	env := &scenario.Env{
		Root: root, Dir: dir, Self: self, Quick: o.quick, Rounds: o.rounds, Only: o.only, Sizes: o.sizes, Log: os.Stderr,
	}
	if env.Programs, err = findPrograms(ctx, root, o.only); err != nil {
		return nil, err
	}
	env.Programs.Before, env.Programs.Caddy = o.before, o.caddy
	if o.caddy == "" {
		if env.Programs.Caddy, err = env.Build(ctx, "caddy", "./cmd/caddy"); err != nil {
			return nil, err
		}
	}
	return env, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding module: %w", err)
	}
	return filepath.Dir(string(bytes.TrimSpace(gomod))), nil
}

// findPrograms finds the programs that the targets need and installs missing ones.
func findPrograms(ctx context.Context, root string, only []target.Name) (target.Programs, error) {
	programs, err := lookPrograms(only)
	if err == nil {
		return programs, nil
	}
	setup := exec.CommandContext(ctx, filepath.Join(root, "bench", "setup"))
	setup.Stdout, setup.Stderr = os.Stderr, os.Stderr
	if runErr := setup.Run(); runErr != nil {
		return target.Programs{}, fmt.Errorf("bench/setup: %w", errors.Join(err, runErr))
	}
	return lookPrograms(only)
}

func lookPrograms(only []target.Name) (target.Programs, error) {
	var p target.Programs
	var missing error
	for name, place := range map[string]*string{"haproxy": &p.HAProxy, "nginx": &p.NGINX, "taskset": &p.Taskset} {
		if !needs(only, name) {
			continue
		}
		path, err := exec.LookPath(name)
		if err != nil {
			// Debian's PATH of ordinary users does not have the folders of
			// servers.
			path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
		}
		missing = errors.Join(missing, err)
		*place = path
	}
	if missing != nil {
		return p, fmt.Errorf("looking for programs: %w", missing)
	}
	return p, nil
}

// needs reports whether one of the targets needs the program. Without targets all are
// measured. The names of HAProxy's and NGINX's targets begin with those of their
// programs.
func needs(only []target.Name, program string) bool {
	return program == "taskset" || len(only) == 0 || slices.ContainsFunc(only, func(n target.Name) bool {
		return strings.HasPrefix(string(n), program)
	})
}

// describe returns the head of a result: the command that repeats it, and the
// machine.
func describe(ctx context.Context, env *scenario.Env, o options, s scenario.Scenario, began time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", s.Title)
	fmt.Fprintf(&b, "repeat    %s\n", o.command(s))
	fmt.Fprintf(&b, "date      %s, took %s\n", began.UTC().Format(time.RFC3339), time.Since(began).Round(time.Second))
	fmt.Fprintf(&b, "machine   %d cores, %s, %s %s\n", runtime.NumCPU(), cpuModel(), firstLine(ctx, "uname", "-sr"), runtime.GOARCH)
	fmt.Fprintf(&b, "programs  %s, Caddy %s", runtime.Version(), firstWord(firstLine(ctx, env.Programs.Caddy, "version")))
	for _, peer := range []string{env.Programs.HAProxy, env.Programs.NGINX} {
		if peer != "" {
			fmt.Fprintf(&b, ", %s", firstLine(ctx, peer, "-v"))
		}
	}
	b.WriteByte('\n')
	fmt.Fprintf(&b, "commit    %s\n\n", firstLine(ctx, "git", "-C", env.Root, "describe", "--always", "--dirty"))
	return b.String()
}

// firstLine returns the first line of a program's version, or a question mark: a
// result with an incomplete head is still useful.
func firstLine(ctx context.Context, name string, args ...string) string {
	output, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "?"
	}
	line, _, _ := strings.Cut(string(output), "\n")
	return strings.TrimSpace(line)
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "?"
	}
	for line := range strings.SplitSeq(string(info), "\n") {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}
