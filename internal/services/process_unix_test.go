//go:build unix

package services

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a script.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Program{
		Name: "the script",
		Args: []string{"sh", "-c", script},
		Log:  filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// printed waits for output of the script.
func printed(t *testing.T, p *Process, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := p.Until(ctx, func(context.Context) error {
		if !strings.Contains(p.lastWords(), text) {
			return errWrongAnswer
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStopIsAFarewell(t *testing.T) {
	t.Parallel()
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo here; while :; do sleep 0.01; done`)
	printed(t, p, "here")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if words := p.lastWords(); !strings.Contains(words, "bye") {
		t.Errorf("it could not say goodbye:%s", words)
	}
}

func TestStopEndsWhatTheProcessLeftBehind(t *testing.T) {
	t.Parallel()
	child := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(child, 0o600); err != nil {
		t.Fatal(err)
	}
	// The child holds the pipe open while it lives.
	p := shell(t, `sleep 600 >"`+child+`" & exec sleep 600`)
	pipe, err := os.Open(child)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := pipe.SetReadDeadline(time.Now().Add(time.Minute)); err == nil {
		if _, err := pipe.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a child is left")
		}
	}
}

func TestDeadProcessTellsItsLastWords(t *testing.T) {
	t.Parallel()
	p := shell(t, `echo no such licence; exit 3`)
	err := p.Until(t.Context(), func(context.Context) error { return errWrongAnswer })
	if !errors.Is(err, errDied) || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such licence") {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := shell(t, `exec sleep 600`)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	err := p.Until(ctx, func(context.Context) error { return errWrongAnswer })
	if !errors.Is(err, enough) || !errors.Is(err, errWrongAnswer) {
		t.Errorf("ended with %v", err)
	}
}

func TestMissingProgramIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Start(Program{Name: "nothing", Args: []string{"no-such-program"}, Log: filepath.Join(t.TempDir(), "log"), Package: "void"})
	if err == nil || !strings.Contains(err.Error(), "starting nothing") || !strings.Contains(err.Error(), "Debian package void") {
		t.Error(err)
	}
}

func TestServersCanBeStartedAgain(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	p := Program{Name: "the script", Args: []string{"sh", "-c", "echo here; exec sleep 600"}, Log: log}
	ready := func(context.Context) error {
		if logOf(p) != "here\n" {
			return errWrongAnswer
		}
		return nil
	}
	s, err := StartServer(t.Context(), p, ready)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill() })
	for name, end := range map[string]func(){
		"stop":   func() { _ = s.Stop() },
		"kill":   func() { s.Kill() },
		"signal": func() { s.Signal(syscall.SIGTERM); <-s.process.Exited() },
	} {
		if !s.Running() {
			t.Errorf("%s: it does not run", name)
		}
		if end(); s.Running() {
			t.Errorf("%s: it still runs", name)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.Log(); got != "here\n" {
			t.Errorf("%s: the log of the new run is %q", name, got)
		}
	}
}

func TestServersThatAreNotReadyAreEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p := Program{Name: "the script", Args: []string{"sleep", "600"}, Log: filepath.Join(t.TempDir(), "log")}
	s, err := StartServer(ctx, p, func(context.Context) error { return errWrongAnswer })
	if !errors.Is(err, errWrongAnswer) || s.Running() {
		t.Errorf("it runs: %t, %v", s.Running(), err)
	}
}
