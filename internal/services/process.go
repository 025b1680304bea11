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

// Program is a program to run as a process.
type Program struct {
	Name string   // for error messages
	Args []string // the command first
	Env  []string // in addition to those of this process; later ones win
	Dir  string   // working directory; empty: that of this process
	Log  string   // file for its output

	Package string // Debian's package of the program; empty: none

	Farewell time.Duration // time limit for its end; default 10 s
}

// Process is a program that was started.
type Process struct {
	program Program
	cmd     *exec.Cmd
	exited  chan struct{}
	err     error // written before exited is closed
}

// defaultFarewell is the default time limit for the end of a process after Stop.
const defaultFarewell = 10 * time.Second

// Start starts a program in a separate process group. So an interrupt at the
// terminal reaches only this process, which then ends the others in order.
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
	defer log.Close() // the process has a copy
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

// hint names the package of a missing program.
func (p *Program) hint() string {
	if p.Package == "" {
		return ""
	}
	return "; it comes with the Debian package " + p.Package
}

// Exited is closed when the process has ended.
func (s *Process) Exited() <-chan struct{} { return s.exited }

// Stop asks the process to end, and kills it after the time limit. It also ends
// remaining child processes.
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

// Kill ends the process without asking it first.
func (s *Process) Kill() {
	end(s.cmd.Process)
	<-s.exited
}

// errDied means that a server ended before it was ready.
var errDied = errors.New("ended by itself")

// Until repeats try until it succeeds, the process has died, or the context is
// done.
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

// lastWords returns the end of the output of the process.
func (s *Process) lastWords() string {
	text, err := os.ReadFile(s.program.Log)
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "; it printed\n" + strings.Join(lines[max(0, len(lines)-15):], "\n")
}
