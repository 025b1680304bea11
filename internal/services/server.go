package services

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Server is a program that others talk to, and that can be started again. It is
// not for several goroutines.
type Server struct {
	program Program
	ready   func(context.Context) error
	process *Process // the newest one
}

// StartServer starts a program and waits until it is ready.
func StartServer(ctx context.Context, p Program, ready func(context.Context) error) (*Server, error) {
	s := &Server{program: p, ready: ready}
	return s, s.Restart(ctx)
}

// Restart starts the program again after it has ended, and waits until it is
// ready.
func (s *Server) Restart(ctx context.Context) error {
	p, err := Start(s.program)
	if err != nil {
		return err
	}
	s.process = p
	if err := p.Until(ctx, s.ready); err != nil {
		return errors.Join(err, p.Stop())
	}
	return nil
}

// Stop asks the program to end, as [Process.Stop].
func (s *Server) Stop() error { return s.process.Stop() }

// Kill ends the program at once, as a crash would.
func (s *Server) Kill() { s.process.Kill() }

// Running reports whether the program has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.process.Exited():
		return false
	default:
		return true
	}
}

// Log returns the end of what the program has printed since it was started.
func (s *Server) Log() string { return logOf(s.program) }

// maxLog is how much of a log is looked at.
const maxLog = 16 << 10

func logOf(p Program) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text[max(0, len(text)-maxLog):])
}
