package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// clone makes a repository with one commit.
func clone(t *testing.T) (folder string, run func(args ...string)) {
	t.Helper()
	folder = t.TempDir()
	run = func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{
			"-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false",
		}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z", "GIT_CONFIG_GLOBAL="+os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	write(t, folder, "first")
	run("init", "-q")
	run("add", ".")
	run("commit", "-q", "-m", "first")
	return folder, run
}

func write(t *testing.T, folder, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The stamp is that of the go command for a commit, marks other changes, and
// prefers a tag.
func TestSourcesAreStamped(t *testing.T) {
	t.Parallel()
	folder, run := clone(t)
	if got := stamp(t.Context(), folder); !regexp.MustCompile(`^v0\.0\.0-20260102030405-[0-9a-f]{12}$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	run("tag", "v0.1.0")
	if got := stamp(t.Context(), folder); got != "v0.1.0" {
		t.Errorf("got %q", got)
	}
	write(t, folder, "changed")
	if got := stamp(t.Context(), folder); !regexp.MustCompile(`^v0\.0\.0-20260102030405-[0-9a-f]{12}-dirty$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

// A folder within another repository is not that repository.
func TestOtherFoldersHaveNoStamp(t *testing.T) {
	t.Parallel()
	folder, _ := clone(t)
	inner := filepath.Join(folder, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{inner, t.TempDir(), filepath.Join(folder, "missing")} {
		if got := stamp(t.Context(), folder); got != "" {
			t.Errorf("%s: got %q", folder, got)
		}
	}
}
