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
		Root: root, Dir: dir, Self: self, Quick: o.quick, Rounds: o.rounds, Only: o.only, Log: os.Stderr,
	}
	if env.Programs, err = findPrograms(ctx, root); err != nil {
		return nil, err
	}
	if env.Programs.Caddy = o.caddy; o.caddy == "" {
		env.Programs.Caddy = filepath.Join(dir, "caddy")
		fmt.Fprintln(os.Stderr, "building ./cmd/caddy")
		build := exec.CommandContext(ctx, "go", "build", "-o", env.Programs.Caddy, "./cmd/caddy")
		build.Dir, build.Stderr = root, os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building Caddy: %w", err)
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

// findPrograms finds the other proxies and installs missing ones.
func findPrograms(ctx context.Context, root string) (target.Programs, error) {
	programs, err := lookPrograms()
	if err == nil {
		return programs, nil
	}
	setup := exec.CommandContext(ctx, filepath.Join(root, "bench", "setup"))
	setup.Stdout, setup.Stderr = os.Stderr, os.Stderr
	if runErr := setup.Run(); runErr != nil {
		return target.Programs{}, fmt.Errorf("bench/setup: %w", errors.Join(err, runErr))
	}
	return lookPrograms()
}

func lookPrograms() (target.Programs, error) {
	var p target.Programs
	var missing error
	for name, place := range map[string]*string{"haproxy": &p.HAProxy, "nginx": &p.NGINX, "taskset": &p.Taskset} {
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

// describe returns the head of a result: the command that repeats it, and the
// machine.
func describe(ctx context.Context, env *scenario.Env, o options, s scenario.Scenario, began time.Time) string {
	// A run of several scenarios is repeated with one command for each.
	command := o.command
	if len(o.scenarios) > 1 {
		command = "go run ./bench " + s.Name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", s.Title)
	fmt.Fprintf(&b, "repeat    %s\n", command)
	fmt.Fprintf(&b, "date      %s, took %s\n", began.UTC().Format(time.RFC3339), time.Since(began).Round(time.Second))
	fmt.Fprintf(&b, "machine   %d cores, %s, %s %s\n", runtime.NumCPU(), cpuModel(), firstLine(ctx, "uname", "-sr"), runtime.GOARCH)
	fmt.Fprintf(&b, "programs  %s, Caddy %s, %s, %s\n", runtime.Version(), firstWord(firstLine(ctx, env.Programs.Caddy, "version")),
		firstLine(ctx, env.Programs.HAProxy, "-v"), firstLine(ctx, env.Programs.NGINX, "-v"))
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
