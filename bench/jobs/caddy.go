package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
)

// caddy is a running Caddy, with a site for each target.
type caddy struct {
	process *exec.Cmd
	addrs   map[string]string // of the sites, by target
	admin   string            // the address of the admin endpoint
}

// targets and their sites. UPSTREAM, FOLDER and STORE are replaced.
var targets = map[string]string{
	"proxy": `reverse_proxy UPSTREAM`,
	"offload": `offload {
		concurrency 64
		queue 1000
		breaker off
	}
	reverse_proxy UPSTREAM`,
	"jobs": `offload_jobs /.jobs/* {
		max_readers 1000
	}
	offload {
		concurrency 64
		queue 1000
		breaker off
		jobs bench {
			handle {
				reverse_proxy UPSTREAM
			}
		}
	}
	reverse_proxy UPSTREAM`,
	"files": `root FOLDER
	file_server`,
}

// head has the global options, and jobsHead those with jobs. ADMIN and STORE are replaced.
const head = `{
	admin ADMIN
	auto_https off
	persist_config off
	log {
		level ERROR
	}
JOBS}
`

const jobsHead = `	offload {
		jobs {
			store STORE
			queue 10000000
			queue_bytes 100GiB
			max_bytes off
			min_free off
			tenant {
				queue 10000000
				running 1000
				bytes 100GiB
			}
		}
	}
`

const startTime = 20 * time.Second

// build builds Caddy, once for all parts.
func (b *bench) build(ctx context.Context) (program string, err error) {
	program = filepath.Join(b.folder, "program") // Caddy makes a folder "caddy"
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/caddy")
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building Caddy: %w", err)
	}
	return program, nil
}

// start starts Caddy in front of an upstream, with the named targets, else with all.
func (b *bench) start(ctx context.Context, upstream string, names ...string) (*caddy, error) {
	program, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(targets))
	}
	c := &caddy{addrs: make(map[string]string)}
	if c.admin, err = freeAddr(); err != nil {
		return nil, err
	}
	text, jobs := head, ""
	for _, name := range names {
		if c.addrs[name], err = freeAddr(); err != nil {
			return nil, err
		}
		text += fmt.Sprintf("http://%s {\n\t%s\n}\n", c.addrs[name], targets[name])
		if name == "jobs" {
			jobs = jobsHead
		}
	}
	text = strings.NewReplacer("JOBS", jobs).Replace(text)
	text = strings.NewReplacer("UPSTREAM", upstream, "FOLDER", b.folder, "STORE", filepath.Join(b.folder, "store"), "ADMIN", c.admin).Replace(text)
	file := filepath.Join(b.folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	c.process = exec.CommandContext(ctx, program, "run", "--config", file)
	c.process.Env = append(os.Environ(), "HOME="+b.folder, "XDG_DATA_HOME="+b.folder, "XDG_CONFIG_HOME="+b.folder)
	c.process.Stdout, c.process.Stderr = os.Stderr, os.Stderr
	c.process.SysProcAttr = proc.EndWithParent()
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("starting Caddy: %w", err)
	}
	return c, c.ready(ctx)
}

// ready waits until Caddy answers.
func (c *caddy) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addrs["proxy"], http.NoBody)
		if err != nil {
			return fmt.Errorf("asking Caddy: %w", err)
		}
		if res, err := http.DefaultClient.Do(r); err == nil {
			return res.Body.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("no answer from Caddy")
		}
	}
}

// drained waits until all jobs have ended, so that they do not take part in the next
// measurement.
func (c *caddy) drained(ctx context.Context) error {
	for {
		res, err := ask(ctx, http.MethodGet, "http://"+c.admin+"/offload/jobs?state=queued&state=running&limit=1", "")
		if err != nil {
			return err
		}
		var open struct {
			Jobs []json.RawMessage `json:"jobs"`
		}
		err = errors.Join(json.NewDecoder(res.Body).Decode(&open), res.Body.Close())
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("listing the jobs: status %d, %w", res.StatusCode, err)
		}
		if len(open.Jobs) == 0 {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the jobs: %w", ctx.Err())
		}
	}
}

// stop ends Caddy.
func (c *caddy) stop() error {
	if err := c.process.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("ending Caddy: %w", err)
	}
	_ = c.process.Wait() // the signal ends it
	return nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
