package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
)

// idle measures what jobs cost without a submission: memory, goroutines and CPU time of Caddy
// with a route that has jobs, less those with the route without, and the size of the binary.
func (b *bench) idle(ctx context.Context) error {
	without, err := b.atRest(ctx, "proxy", "offload")
	if err != nil {
		return err
	}
	with, err := b.atRest(ctx, "proxy", "offload", "jobs")
	if err != nil {
		return err
	}
	larger, err := b.binary(ctx)
	if err != nil {
		return err
	}
	b.printf("\nA route with jobs and no requests, less the same route without jobs.\n\n")
	memory, routines, cpu := (with.memory-without.memory)/mebibyte, with.routines-without.routines, with.cpu-without.cpu
	b.aim("memory in MiB", memory, "<= 1", memory <= 1)
	b.aim("goroutines", routines, "<= 6", routines <= 6)
	b.aim("CPU in % of a core", cpu, "<= 0.1", cpu <= 0.1)
	b.aim("size of the binary in MiB", larger, "<= 0.3", larger <= 0.3)
	return nil
}

const mebibyte = 1 << 20

// rest is what a Caddy uses that has no requests.
type rest struct {
	memory, routines float64
	cpu              float64 // in % of a core
}

var routines = regexp.MustCompile(`goroutine profile: total (\d+)`)

// atRest starts Caddy with some of the targets, without requests.
func (b *bench) atRest(ctx context.Context, names ...string) (r rest, err error) {
	c, err := b.start(ctx, "127.0.0.1:1", names...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	time.Sleep(3 * time.Second) // until the start is over
	pids := []int{c.process.Process.Pid}
	before, err := proc.CPU(pids)
	if err != nil {
		return r, err
	}
	span := 2 * b.length
	time.Sleep(span)
	after, err := proc.CPU(pids)
	if err != nil {
		return r, err
	}
	r.cpu = 100 * (after - before).Seconds() / span.Seconds()
	memory, err := c.memory()
	if err != nil {
		return r, err
	}
	r.memory = float64(memory)
	res, err := ask(ctx, http.MethodGet, "http://"+c.admin+"/debug/pprof/goroutine?debug=1", "")
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	found := routines.FindSubmatch(text)
	if err != nil || found == nil {
		return r, fmt.Errorf("counting goroutines: status %d, %w", res.StatusCode, err)
	}
	r.routines, err = strconv.ParseFloat(string(found[1]), 64)
	return r, err
}

// binary returns by how many MiB the plugin makes Caddy larger.
func (b *bench) binary(ctx context.Context) (float64, error) {
	with, err := b.build(ctx)
	if err != nil {
		return 0, err
	}
	source := filepath.Join(b.root, "cmd", "caddy", "main.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return 0, err
	}
	line := []byte("\t_ \"github.com/caddy-offload/caddy-offload/caddymodule/jobs\"\n")
	if !bytes.Contains(text, line) {
		return 0, fmt.Errorf("%s does not import the plugin", source)
	}
	replaced, overlay := filepath.Join(b.folder, "main.go"), filepath.Join(b.folder, "overlay.json")
	if err := os.WriteFile(replaced, bytes.Replace(text, line, nil, 1), 0o600); err != nil {
		return 0, err
	}
	rule, err := json.Marshal(map[string]map[string]string{"Replace": {source: replaced}})
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(overlay, rule, 0o600); err != nil {
		return 0, err
	}
	without := filepath.Join(b.folder, "without")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", without, "./cmd/caddy")
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("building Caddy without jobs: %w", err)
	}
	large, err := os.Stat(with)
	if err != nil {
		return 0, err
	}
	small, err := os.Stat(without)
	if err != nil {
		return 0, err
	}
	return float64(large.Size()-small.Size()) / mebibyte, nil
}
