package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// requiredModules are the IDs that a binary with this project must list.
var requiredModules = []string{"offload", "http.handlers.offload", "http.handlers.celery", "offload.jobs", "offload.jobs.route"}

// errModulesMissing means that a binary runs but lacks modules of this project.
var errModulesMissing = errors.New("modules missing")

// foreign reports whether a binary for the platform cannot run on this machine.
func foreign(p xcaddy.Platform) bool {
	return cmp.Or(p.OS, runtime.GOOS) != runtime.GOOS || cmp.Or(p.Arch, runtime.GOARCH) != runtime.GOARCH
}

// verify runs the binary, returns its version and fails with
// [errModulesMissing] if it lacks one of the required modules.
func verify(ctx context.Context, binary string) (version string, err error) {
	listed, err := runBinary(ctx, binary, "list-modules")
	if err != nil {
		return "", err
	}
	if missing := missingModules(listed); len(missing) > 0 {
		return "", fmt.Errorf("%w: %s", errModulesMissing, strings.Join(missing, ", "))
	}
	if version, err = runBinary(ctx, binary, "version"); err != nil {
		return "", err
	}
	project, err := runBinary(ctx, binary, "offload", "version")
	return strings.TrimSpace(version) + ", " + strings.TrimSpace(project), err
}

// missingModules returns the required modules that are not a line of the list.
func missingModules(listed string) []string {
	found := make(map[string]bool)
	for line := range strings.Lines(listed) {
		found[strings.TrimSpace(line)] = true
	}
	var missing []string
	for _, id := range requiredModules {
		if !found[id] {
			missing = append(missing, id)
		}
	}
	return missing
}

// runBinary returns the standard output of one command of the binary; an error
// contains its standard error.
func runBinary(ctx context.Context, binary string, command ...string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, command...).Output()
	if err == nil {
		return string(out), nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", strings.Join(command, " "), err)
}
