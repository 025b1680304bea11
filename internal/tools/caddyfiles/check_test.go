package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeEnv makes the test binary act as Caddy. The text of a Caddyfile says
// which of its commands fail.
const fakeEnv = "CADDYFILES_TEST_FAKE_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(fakeEnv) != "" {
		os.Exit(fakeCaddy(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeCaddy fails in a command whose name is in the file. For the file "site
// only" every command but fmt requires the block of a site.
func fakeCaddy(args []string) int {
	content, err := os.ReadFile(args[2])
	if err != nil {
		fmt.Println(err)
		return 2
	}
	text := string(content)
	if strings.Contains(text, "leaves a file") && args[0] == "validate" {
		err = os.WriteFile(filepath.Join(os.TempDir(), "left"), nil, 0o600)
	}
	naked := strings.Contains(text, "site only") && !strings.HasPrefix(text, ":0 {\n\t") && args[0] != "fmt"
	if err != nil || naked || strings.Contains(text, "breaks "+args[0]) {
		fmt.Printf("first line\nfault in %s\n", args[0])
		return 1
	}
	return 0
}

// check checks a piece with the fake Caddy.
func check(t *testing.T, root string, p piece) error {
	t.Helper()
	t.Setenv(fakeEnv, "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each fake sleeps a second
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChecker(self, root)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	return c.piece(t.Context(), p)
}

func TestPiecesAreCheckedByTheirKind(t *testing.T) {
	for name, test := range map[string]struct {
		kind    kind
		content string
		want    string // part of the error, empty for none
	}{
		"good block":              {block, "good\n", ""},
		"directives of a site":    {block, "site only\n\nmore\n", ""},
		"unformatted block":       {block, "breaks fmt\n", "not formatted"},
		"block without meaning":   {block, "breaks adapt\n", "neither a Caddyfile (adapt: exit status 1: fault in adapt)"},
		"invalid block":           {block, "breaks validate\n", "fault in validate"},
		"block that leaves files": {block, "leaves a file\n", "left the file left behind"},
		"fragment":                {fragment, "breaks adapt\n", ""},
		"unformatted fragment":    {fragment, "breaks fmt\n", "fault in fmt"},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(t, t.TempDir(), piece{file: "a.md", line: 1, kind: test.kind, content: test.content})
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestFilesAreCheckedInPlace(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"Caddyfile": "good\n", "site.caddyfile": "breaks adapt\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(t, root, piece{file: "Caddyfile"}); err != nil {
		t.Error(err)
	}
	if err := check(t, root, piece{file: "site.caddyfile"}); err == nil || !strings.Contains(err.Error(), "fault in adapt") {
		t.Errorf("error is %v", err)
	}
}

func TestRunNeedsCaddyAndCaddyfiles(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), "", t.TempDir()); err == nil {
		t.Error("no binary is no error")
	}
	if err := run(t.Context(), "caddy", t.TempDir()); err == nil || !strings.Contains(err.Error(), "no Caddyfile") {
		t.Errorf("error is %v", err)
	}
}
