package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Parts of the example's prometheus.yml, and their replacements.
const (
	target         = "127.0.0.1:9180"
	scrapeInterval = "scrape_interval: 5s"
	oftenEnough    = "scrape_interval: 1s"
)

// patience is the time limit for the end of a process.
const patience = 10 * time.Second

// scene is the program and the Prometheus that scrapes it.
type scene struct {
	api       api
	folder    string
	processes []*exec.Cmd
}

func start(ctx context.Context, o options) (*scene, error) {
	folder, err := os.MkdirTemp("", "dashboard-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	s := &scene{folder: folder}
	addrs, err := freeAddrs(4)
	if err == nil {
		s.api = api{"http://" + addrs[3]}
		err = s.startBoth(ctx, o, addrs)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *scene) startBoth(ctx context.Context, o options, addrs []string) error {
	config, err := os.ReadFile(filepath.Join(o.folder, "prometheus.yml"))
	if err != nil {
		return fmt.Errorf("reading the configuration of Prometheus: %w", err)
	}
	config, err = moved(config, addrs[1])
	if err != nil {
		return err
	}
	file := filepath.Join(s.folder, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return fmt.Errorf("writing the configuration of Prometheus: %w", err)
	}
	program := exec.CommandContext(ctx, o.program)
	program.Env = append(os.Environ(), "OFFLOAD_ADMIN=off", "OFFLOAD_ADDR="+addrs[0], "OFFLOAD_METRICS="+addrs[1],
		"SLOW_UPSTREAM="+addrs[2], "XDG_DATA_HOME="+s.folder, "XDG_CONFIG_HOME="+s.folder)
	prometheus := exec.CommandContext(ctx, o.prometheus, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(s.folder, "data"), "--web.listen-address="+addrs[3])
	return errors.Join(s.start(program), s.start(prometheus))
}

// moved returns the configuration with another target, which is scraped often.
func moved(config []byte, to string) ([]byte, error) {
	for from, to := range map[string]string{target: to, scrapeInterval: oftenEnough} {
		if !bytes.Contains(config, []byte(from)) {
			return nil, fmt.Errorf("the configuration of Prometheus has no '%s'", from)
		}
		config = bytes.ReplaceAll(config, []byte(from), []byte(to))
	}
	return config, nil
}

func (s *scene) start(cmd *exec.Cmd) error {
	var log strings.Builder
	cmd.Stderr = &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	s.processes = append(s.processes, cmd)
	return nil
}

// stop ends both processes and removes their files.
func (s *scene) stop() error {
	var errs []error
	for _, cmd := range s.processes {
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Process.Signal(syscall.SIGTERM) // it fails if the process has ended, which Wait reports
		if err := cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", cmd.Path, err, cmd.Stderr))
		}
		late.Stop()
	}
	return errors.Join(append(errs, os.RemoveAll(s.folder))...)
}

// freeAddrs returns free addresses of this machine.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer ln.Close() // closed together at the end, so that the addresses differ
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}
