package services

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Server is a program that serves clients and can be restarted. It is not safe
// for concurrent use.
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

// Kill ends the program immediately, like a crash.
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

// Log returns the end of the output of the program since its start.
func (s *Server) Log() string { return logOf(s.program) }

// maxLog is the largest part of a log that is read.
const maxLog = 16 << 10

func logOf(p Program) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text[max(0, len(text)-maxLog):])
}
