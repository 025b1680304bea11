package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeEnv makes the test binary act as a Caddy binary: its value is the
// output of `list-modules`, or "broken" for a binary that fails.
const fakeEnv = "BUILD_TEST_FAKE_CADDY"

func TestMain(m *testing.M) {
	if modules, ok := os.LookupEnv(fakeEnv); ok {
		os.Exit(fakeCaddy(os.Args[1], modules))
	}
	os.Exit(m.Run())
}

// fakeCaddy answers the two commands that verify uses.
func fakeCaddy(command, modules string) int {
	if modules == "broken" {
		fmt.Fprintln(os.Stderr, "cannot start")
		return 1
	}
	switch command {
	case "list-modules":
		fmt.Println(modules)
	case "version":
		fmt.Println("v2.11.9 h1:abc=")
	case "offload":
		fmt.Println("caddy-offload v0.1.0")
	default:
		return 2
	}
	return 0
}

// verifyFake verifies a fake binary with these modules.
func verifyFake(t *testing.T, modules string) (string, error) {
	t.Helper()
	t.Setenv(fakeEnv, modules)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each fake sleeps a second
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return verify(t.Context(), self)
}

func TestBinaryWithAllModulesPasses(t *testing.T) {
	version, err := verifyFake(t, "http\nhttp.handlers.celery\nhttp.handlers.offload\noffload\noffload.jobs\noffload.jobs.route\n\n  Non-standard modules: 3")
	if err != nil {
		t.Fatal(err)
	}
	if version != "v2.11.9 h1:abc=, caddy-offload v0.1.0" {
		t.Errorf("version is %q", version)
	}
}

func TestBinaryWithoutAModuleFails(t *testing.T) {
	_, err := verifyFake(t, "http\nhttp.handlers.celery\nhttp.handlers.offload\noffload.jobs\noffload.jobs.route\nadmin.api.offload")
	if !errors.Is(err, errModulesMissing) {
		t.Fatalf("error is %v", err)
	}
	if !strings.HasSuffix(err.Error(), ": offload") {
		t.Errorf("error %q does not name just the missing module", err)
	}
}

func TestBrokenBinaryFailsWithItsOwnWords(t *testing.T) {
	_, err := verifyFake(t, "broken")
	if err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Fatalf("error is %v", err)
	}
}

func TestBinaryThatIsNotThereFails(t *testing.T) {
	t.Parallel()
	if _, err := verify(t.Context(), filepath.Join(t.TempDir(), "caddy")); err == nil {
		t.Fatal("no error")
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv(fakeEnv, "offload")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(ctx, self); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}
