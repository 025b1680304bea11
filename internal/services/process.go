package services

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Program is what a process runs.
type Program struct {
	Name string   // for a person
	Args []string // the command first
	Env  []string // beside what this process has; later ones win
	Dir  string   // to run in; empty: where this process runs
	Log  string   // file that takes what it prints

	Package string // of Debian, that it comes with; empty: none

	Farewell time.Duration // how long it may take to end; default 10 s
}

// Process is a program that was started.
type Process struct {
	program Program
	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // written before exited is closed
}

// defaultFarewell is how long a process may take to end after it was told to.
const defaultFarewell = 10 * time.Second

// Start starts a program in a process group of its own, so that an interrupt at
// the terminal reaches only this process, which then ends things in order.
func Start(p Program) (*Process, error) {
	if p.Farewell == 0 {
		p.Farewell = defaultFarewell
	}
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w%s", p.Name, err, p.hint())
	}
	log, err := os.Create(p.Log)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(path, p.Args[1:]...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	isolate(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	s := &Process{program: p, cmd: cmd, exited: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// hint is for whoever lacks the program.
func (p *Program) hint() string {
	if p.Package == "" {
		return ""
	}
	return "; it comes with the Debian package " + p.Package
}

// Exited is closed when the process has ended.
func (s *Process) Exited() <-chan struct{} { return s.exited }

// Stop asks the process to end, and does not ask any more after a while. What it
// started and left behind is ended too.
func (s *Process) Stop() error {
	askToEnd(s.cmd.Process)
	select {
	case <-s.exited:
		end(s.cmd.Process)
		return nil
	case <-time.After(s.program.Farewell):
	}
	end(s.cmd.Process)
	<-s.exited
	return fmt.Errorf("%s did not end within %v and was killed", s.program.Name, s.program.Farewell)
}

// Kill ends the process without a farewell.
func (s *Process) Kill() {
	end(s.cmd.Process)
	<-s.exited
}

// errDied is what a process failed with that was meant to serve.
var errDied = errors.New("ended by itself")

// Until tries until it succeeds, the process has died, or the context is done.
func (s *Process) Until(ctx context.Context, try func(context.Context) error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
			continue
		case <-s.exited:
			err = errors.Join(errDied, s.err)
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return fmt.Errorf("waiting for %s: %w%s", s.program.Name, err, s.lastWords())
	}
}

// lastWords is the end of what the process has printed.
func (s *Process) lastWords() string {
	text, err := os.ReadFile(s.program.Log)
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "; it printed\n" + strings.Join(lines[max(0, len(lines)-15):], "\n")
}
