package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/xcaddy"
)

// writeModule creates a folder with a go.mod, and a build file in its
// folder "build". It returns both paths.
func writeModule(t *testing.T, buildFile string) (module, config string) {
	t.Helper()
	module = t.TempDir()
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte("module example.com/m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(module, "build"), 0o700); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(module, "build", "xcaddy.json")
	if err := os.WriteFile(config, []byte(buildFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return module, config
}

func TestReplacementFolderIsRelativeToTheBuildFile(t *testing.T) {
	t.Parallel()
	module, config := writeModule(t, `{
		"caddy_version": "v2.11.9",
		"plugins": [{"module_path": "example.com/m/plugin"}],
		"replacements": [
			{"old": "example.com/m", "new": ".."},
			{"old": "example.com/other", "new": "example.com/fork@v1.0.0"}
		],
		"timeout_build": 900000000000
	}`)

	builder, err := readBuilder(config)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(builder.Replacements[0].New); got != module {
		t.Errorf("folder is %q, want %q", got, module)
	}
	if got := string(builder.Replacements[1].New); got != "example.com/fork@v1.0.0" {
		t.Errorf("a module path became %q", got)
	}
	if builder.TimeoutBuild != 15*time.Minute {
		t.Errorf("build timeout is %v, want 15m", builder.TimeoutBuild)
	}
}

func TestBuildFileOfThisProjectIsValid(t *testing.T) {
	t.Parallel()
	builder, err := readBuilder(filepath.Join("..", "..", "xcaddy.json"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(builder.Replacements[0].New); got != root {
		t.Errorf("replacement is %q, want %q", got, root)
	}
}

func TestBuildFileErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"unknown key":           {`{"caddy": "v2.11.9"}`, `unknown field "caddy"`},
		"duration as text":      {`{"timeout_build": "15m"}`, "whole number of nanoseconds"},
		"second object":         {`{} {}`, "more data after the JSON object"},
		"no JSON":               {`plugins:`, "invalid character"},
		"empty":                 {``, "EOF"},
		"half a replacement":    {`{"replacements": [{"old": "example.com/m"}]}`, "replacement 1: both old and new"},
		"folder is no module":   {`{"replacements": [{"old": "example.com/m", "new": "."}]}`, "example.com/m is no Go module"},
		"folder does not exist": {`{"replacements": [{"old": "example.com/m", "new": "./gone"}]}`, "example.com/m is no Go module"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, config := writeModule(t, test.file)
			_, err := readBuilder(config)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), config) {
				t.Errorf("error %q names neither %q nor the file", err, test.want)
			}
		})
	}
}

func TestMissingBuildFileIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := readBuilder(filepath.Join(t.TempDir(), "xcaddy.json")); err == nil {
		t.Fatal("no error")
	}
}

func TestFoldersAreToldFromModulePaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		".": true, "./m": true, "..": true, "../m": true, string(filepath.Separator) + "m": true,
		"m": false, "example.com/m": false, ".hidden/m": false, "...": false,
	} {
		if got := isFolder(path); got != want {
			t.Errorf("isFolder(%q) = %t, want %t", path, got, want)
		}
	}
}

func TestForeignPlatforms(t *testing.T) {
	t.Parallel()
	if foreign(xcaddy.Platform{}) {
		t.Error("the host itself counts as foreign")
	}
	if !foreign(xcaddy.Platform{OS: "plan9"}) || !foreign(xcaddy.Platform{Arch: "mips"}) {
		t.Error("another platform does not count as foreign")
	}
}
