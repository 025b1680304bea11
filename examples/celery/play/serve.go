package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// serve lets a person try the routes until ctx is done.
func (s *stack) serve(ctx context.Context) error {
	stop, err := s.startService(ctx)
	if err != nil {
		return err
	}
	defer stop()
	s.progress.Say("Serving until Ctrl-C. Try:")
	for _, path := range []string{
		"/direct/celery/threads?n=30", "/offload/celery/run_in_executor", "/offload/tasks/factorial?n=30",
		"/offload/tasks/fail?kind=stock", "/offload/tasks/page?name=you", "/ping",
	} {
		s.progress.Say("  curl -i 'http://%s%s'", s.caddy, path)
	}
	s.progress.Say("  curl -N -H 'Accept: text/event-stream' 'http://%s/offload/tasks/steps'", s.caddy)
	<-ctx.Done()
	return nil
}

// accompany runs a command, which gets Caddy's address in OFFLOAD_HOST and OFFLOAD_PORT.
func (s *stack) accompany(ctx context.Context, command []string) error {
	stop, err := s.startService(ctx)
	if err != nil {
		return err
	}
	defer stop()
	host, port, err := net.SplitHostPort(s.caddy)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "OFFLOAD_HOST="+host, "OFFLOAD_PORT="+port)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		s.showLogs()
		return errors.Join(context.Cause(ctx), fmt.Errorf("%s: %w", command[0], err))
	}
	return nil
}

// logEnd is how much of the end of a log is shown.
const logEnd = 1500 // bytes

// showLogs shows the ends of the logs of all servers, which are gone afterwards.
func (s *stack) showLogs() {
	logs, err := filepath.Glob(s.in("*.log"))
	if err != nil {
		return // only a bad pattern is an error
	}
	for _, log := range logs {
		if text, err := os.ReadFile(log); err == nil {
			s.progress.Say("The end of %s:\n%s", filepath.Base(log), text[max(0, len(text)-logEnd):])
		}
	}
}
