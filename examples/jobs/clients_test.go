//go:build integration

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// patience is how long a client or a page may take on a busy machine.
const patience = 2 * time.Minute

// readmeClient is a client of the README, by the language of its block.
type readmeClient struct {
	language, file string
	command        []string
}

const fivePages = "page 1: all is well\npage 2: all is well\npage 3: all is well\npage 4: all is well\npage 5: all is well\n"

// submitted is what a client prints when it has a job.
var submitted = regexp.MustCompile(`^job /jobs/[0-9a-z]{36}\n`)

// Each client of the README prints the report, as the result of a job that outlasts its wait,
// and at once.
func TestTheClientsOfTheReadme(t *testing.T) {
	commands, err := services.PythonCommands(t.Context(), "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	e := start(t)
	for _, c := range []readmeClient{
		{"python", "client.py", []string{filepath.Join(commands, "python")}},
		{"js", "client.mjs", []string{"node"}},
		{"go", "main.go", []string{"go", "run"}},
	} {
		t.Run(c.language, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, c.file), []byte(block(t, c.language)), 0o600); err != nil {
				t.Fatal(err)
			}
			slow := c.start(t, folder)
			slow.awaitJob()
			e.let("5", 5)
			if printed := slow.awaitEnd(); submitted.ReplaceAllString(printed, "") != fivePages {
				t.Errorf("with a job it printed %q", printed)
			}
			e.let("5", 5)
			// On a slow machine this can be a job too.
			if printed := c.start(t, folder).awaitEnd(); submitted.ReplaceAllString(printed, "") != fivePages {
				t.Errorf("without a job it printed %q", printed)
			}
		})
	}
}

// The lines for the shell print a state, events until the end, and the report.
func TestTheShellLinesOfTheReadme(t *testing.T) {
	e := start(t)
	e.let("5", 5)
	lines := strings.ReplaceAll(block(t, "sh"), "localhost:8080", strings.TrimPrefix(base(), "http://"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	printed, err := exec.CommandContext(ctx, "sh", "-ec", lines).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?s)^{"id":"[0-9a-z]{36}".*}\s+retry: .*\nevent: done\ndata: {.*}\n\n` + fivePages + `$`)
	if !want.Match(printed) {
		t.Errorf("they printed %q", printed)
	}
}

// block returns the only block of the README in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(readme, -1)
	if len(blocks) != 1 {
		t.Fatalf("the README has %d blocks in %s, want 1", len(blocks), language)
	}
	return string(blocks[0][1])
}

// client is a running client.
type client struct {
	*services.Process
	t      *testing.T
	output string // a file
}

func (c readmeClient) start(t *testing.T, folder string) client {
	t.Helper()
	output := filepath.Join(folder, "output")
	process, err := services.Start(services.Program{
		Name: c.language, Args: append(slices.Clone(c.command), c.file, base()), Dir: folder, Log: output,
		Env: []string{"PYTHONUNBUFFERED=1"}, // the test reads lines as they come
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return client{process, t, output}
}

// printed is what the client has printed so far.
func (c client) printed() string {
	c.t.Helper()
	text, err := os.ReadFile(c.output)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// awaitJob waits until the client has a job.
func (c client) awaitJob() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.Until(ctx, func(context.Context) error {
		if !submitted.MatchString(c.printed()) {
			return errors.New("it has no job")
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
}

// awaitEnd waits for the end of the client and returns what it has printed.
func (c client) awaitEnd() string {
	c.t.Helper()
	select {
	case <-c.Exited():
	case <-time.After(patience):
		c.t.Fatalf("the client does not end; it has printed %q", c.printed())
	}
	return c.printed()
}
