package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// process is a separate process that requests a fast route at the same time as the crowd.
// In the crowd's process it would wait for a hundred others, and measure that.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout bytes.Buffer
}

// startProbe begins to ask a URL. The caller ends it.
func startProbe(ctx context.Context, url string, w way) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	p := &process{cmd: exec.CommandContext(ctx, program, "-probe", url, "-patience", w.patience.String())}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("preparing the probe: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the probe: %w", err)
	}
	return p, nil
}

// end waits for the open answers, and returns the results of all.
func (p *process) end() (load.Route, error) {
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return load.Route{}, fmt.Errorf("the probe: %w", err)
	}
	var r load.Route
	if err := json.Unmarshal(p.stdout.Bytes(), &r); err != nil {
		return load.Route{}, fmt.Errorf("reading the output of the probe: %w", err)
	}
	return r, nil
}

// probe is the work of the probe's process: it sends requests until its input ends.
func probe(ctx context.Context, url string, patience time.Duration) error {
	enough := make(chan struct{})
	go func() {
		defer close(enough)
		_, _ = io.Copy(io.Discard, os.Stdin) // any end or error stops the probe
	}()
	c := load.NewClient(patience)
	defer c.Close()
	t := load.NewTally()
	load.Probe{Every: probeEvery, URL: url}.Run(ctx, enough, c, t)
	if err := json.NewEncoder(os.Stdout).Encode(t.Route()); err != nil {
		return fmt.Errorf("printing the results: %w", err)
	}
	return nil
}
