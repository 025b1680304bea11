package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/xcaddy"
)

func TestReplacedModulesAreRequiredAfterInitialization(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	goMod := filepath.Join(folder, "go.mod")
	if err := os.WriteFile(goMod, []byte("module caddy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	follow := &steps{log: &log, replacements: []xcaddy.Replace{
		xcaddy.NewReplace("example.com/m", folder),
		xcaddy.NewReplace("example.com/other", "example.com/fork@v1.0.0"),
	}}
	onStep := follow.onStep(t.Context())

	said := "2026/01/02 03:04:05 [INFO] Temporary folder: " + folder + "\nlast words"
	if err := onStep(&xcaddy.StepEvent{Step: xcaddy.StepCreateEnvironment, Output: strings.NewReader(said)}); err != nil {
		t.Fatal(err)
	}
	if err := onStep(&xcaddy.StepEvent{Step: xcaddy.StepInitializeModule, Output: strings.NewReader("")}); err != nil {
		t.Fatal(err)
	}

	written, err := os.ReadFile(goMod)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(written), "require example.com/m v0.0.0") || strings.Contains(string(written), "other") {
		t.Errorf("go.mod is\n%s", written)
	}
	if log.String() != said {
		t.Errorf("log is %q, want %q", log.String(), said)
	}
}

func TestNoReplacedFolderNeedsNoRequirement(t *testing.T) {
	t.Parallel()
	follow := &steps{log: new(bytes.Buffer)}
	if err := follow.requireReplaced(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownBuildFolderIsAnError(t *testing.T) {
	t.Parallel()
	follow := &steps{replacements: []xcaddy.Replace{xcaddy.NewReplace("example.com/m", ".")}}
	if err := follow.requireReplaced(t.Context()); err == nil {
		t.Fatal("no error")
	}
}

func TestUnreadableOutputEndsTheBuild(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	follow := &steps{log: new(bytes.Buffer)}
	err := follow.onStep(t.Context())(&xcaddy.StepEvent{Output: iotest.ErrReader(broken)})
	if !errors.Is(err, broken) {
		t.Fatalf("error is %v", err)
	}
}

func TestRequirementFitsTheMajorOfThePath(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ module, version, want string }{
		{"example.com/m", "", "example.com/m@v0.0.0"},
		{"example.com/m", "v0.0.0-20260102030405-0123456789ab", "example.com/m@v0.0.0-20260102030405-0123456789ab"},
		{"example.com/m", "v1.2.3", "example.com/m@v1.2.3"},
		{"example.com/m", "v2.0.0", "example.com/m@v0.0.0"},
		{"example.com/m/v3", "", "example.com/m/v3@v3.0.0"},
		{"example.com/m/v3", "v3.1.0", "example.com/m/v3@v3.1.0"},
		{"example.com/m/v3", "v0.0.0-20260102030405-0123456789ab", "example.com/m/v3@v3.0.0"},
		{"example.com/m/v12", "", "example.com/m/v12@v12.0.0"},
		{"example.com/m/view", "", "example.com/m/view@v0.0.0"},
		{"example.com/m@v1.2.3", "v0.1.0", "example.com/m@v1.2.3"},
	} {
		if got := requirement(test.module, test.version); got != test.want {
			t.Errorf("requirement(%q, %q) = %q, want %q", test.module, test.version, got, test.want)
		}
	}
}
