package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

func TestFlagsHaveDefaults(t *testing.T) {
	t.Parallel()
	opts, err := parseOptions(nil, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	if want := (options{config: "xcaddy.json", output: filepath.Join("bin", "caddy")}); opts != want {
		t.Errorf("options are %+v, want %+v", opts, want)
	}
}

func TestWrongArgumentsAreExplained(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-wrong"}, {"extra"}, {"-race=maybe"}} {
		var stderr bytes.Buffer
		if _, err := parseOptions(args, &stderr); err == nil {
			t.Errorf("%v: no error", args)
		}
		if !strings.Contains(stderr.String(), "-config") {
			t.Errorf("%v: no usage in %q", args, stderr.String())
		}
	}
}

func TestEarlierBuildIsRemoved(t *testing.T) {
	t.Parallel()
	output := filepath.Join(t.TempDir(), "caddy")
	if err := removeOld(output); err != nil {
		t.Fatalf("nothing to remove: %v", err)
	}
	if err := os.WriteFile(output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeOld(output); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(output); !os.IsNotExist(err) {
		t.Errorf("the old binary is still there: %v", err)
	}
}

func TestBuildForAnotherPlatformIsNotRun(t *testing.T) {
	t.Parallel()
	var builder xcaddy.Builder
	builder.OS = "plan9"
	var stdout bytes.Buffer
	if err := verifyBuild(t.Context(), builder, "caddy", &stdout); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "not verified") {
		t.Errorf("output is %q", stdout.String())
	}
}
