package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// folderLine begins the part of xcaddy's log that names its build folder; xcaddy
// reports the folder nowhere else.
const folderLine = "[INFO] Temporary folder: "

// steps follows a build, shows its output, and adds the replaced modules to the
// build's go.mod before the plugins are looked up.
//
// Without that, the go command asks the module proxy about every path that a
// plugin's package could belong to, the longest first. A public proxy answers
// that it has no such module. But a proxy that answers "forbidden" for unknown
// modules ends the build, although the module is in a local folder.
type steps struct {
	log          io.Writer
	replacements []xcaddy.Replace
	folder       string
}

// onStep returns xcaddy's callback: it runs concurrently with a step until the
// step's output ends, and the next step waits for its return.
func (s *steps) onStep(ctx context.Context) func(*xcaddy.StepEvent) error {
	return func(event *xcaddy.StepEvent) error {
		if err := s.follow(event.Output); err != nil {
			return fmt.Errorf("follow the build: %w", err)
		}
		if event.Step == xcaddy.StepInitializeModule {
			return s.requireReplaced(ctx)
		}
		return nil
	}
}

// follow copies the output of a step and records the build folder.
func (s *steps) follow(output io.Reader) error {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if _, folder, ok := strings.Cut(line, folderLine); ok {
			s.folder = strings.TrimSpace(folder)
		}
		if _, writeErr := io.WriteString(s.log, line); writeErr != nil {
			return writeErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// requireReplaced adds a requirement for each module replaced by a folder.
func (s *steps) requireReplaced(ctx context.Context) error {
	args := []string{"mod", "edit"}
	for _, r := range s.replacements {
		if isFolder(string(r.New)) {
			args = append(args, "-require="+requirement(string(r.Old), stamp(ctx, string(r.New))))
		}
	}
	if len(args) == 2 {
		return nil
	}
	if s.folder == "" {
		return errors.New("xcaddy did not name its build folder")
	}
	// xcaddy finds its go command by the same variable.
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("XCADDY_WHICH_GO"), "go"), args...)
	cmd.Dir = s.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("require the replaced modules: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// majorSuffix is the last element of a module path from version 2 on.
var majorSuffix = regexp.MustCompile(`^v([2-9]|[1-9][0-9]+)$`)

// requirement returns a version for a replaced module: that of the sources in the folder,
// if it is known. Any version is possible, since the folder replaces it, but its major
// version must fit the path.
func requirement(module, version string) string {
	if strings.Contains(module, "@") {
		return module
	}
	if last := path.Base(module); majorSuffix.MatchString(last) {
		return module + "@" + cmp.Or(ofMajor(version, last), last+".0.0")
	}
	return module + "@" + cmp.Or(ofMajor(version, "v0"), ofMajor(version, "v1"), "v0.0.0")
}

// ofMajor returns a version if it is of this major version.
func ofMajor(version, major string) string {
	if strings.HasPrefix(version, major+".") {
		return version
	}
	return ""
}
