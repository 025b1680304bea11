package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
	"github.com/caddy-offload/caddy-offload/internal/repository"
)

// home sets a home folder and free ports for the test. A process has one Caddy,
// so these tests do not run in parallel.
func home(t *testing.T) *demo {
	t.Helper()
	for _, name := range []string{
		"XDG_DATA_HOME", "XDG_CONFIG_HOME", "OFFLOAD_ADDR", "FACTORIAL_UPSTREAM", "SLOW_UPSTREAM",
	} {
		t.Setenv(name, "") // so that the test restores it
		os.Unsetenv(name)
	}
	t.Setenv("OFFLOAD_ADMIN", "off") // the admin endpoint would stop only with the process
	a, err := chooseAddresses(true)
	if err != nil {
		t.Fatal(err)
	}
	remove, err := ownHome()
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{addresses: a, progress: load.NewProgress(io.Discard)}
	t.Cleanup(func() {
		if err := errors.Join(d.close(), remove()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// serving runs serve until the test is over, and returns when it serves the
// paths.
func serving(t *testing.T, d *demo, serve func(context.Context) error, paths ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	c := load.NewClient(10 * time.Second)
	defer c.Close()
	for _, path := range paths {
		if err := load.Ready(ctx, c, d.addresses.base()+path); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestExamplesServe(t *testing.T) {
	for name, paths := range map[string][]string{
		"factorial":    {"/factorial/1000", "/ping"},
		"slowupstream": {"/report?delay=10ms", "/ping", "/stats"},
	} {
		t.Run(name, func(t *testing.T) {
			d := home(t)
			serving(t, d, func(ctx context.Context) error { return d.serveExample(ctx, name) }, paths...)
		})
	}
}

func TestUpstreamsHaveExamples(t *testing.T) {
	t.Parallel()
	root, err := repository.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range (addresses{}).upstreams() {
		if _, err := os.Stat(filepath.Join(root, "examples", u.example, "Caddyfile")); err != nil {
			t.Error(err)
		}
	}
	if err := new(demo).serveExample(t.Context(), "none"); err == nil {
		t.Error("an unknown example was served")
	}
}

func TestRootCaddyfileServes(t *testing.T) {
	d := home(t)
	config, err := adapt("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(config); err != nil {
		t.Fatal(err)
	}
	serving(t, d, d.serve, "/", "/factorial/1000", "/ping", "/slow/report", "/slow/ping", "/slow/stats")
}
