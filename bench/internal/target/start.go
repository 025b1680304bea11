package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
)

const (
	startTimeout = 15 * time.Second
	stopTimeout  = time.Second
)

// Target is a started target.
type Target struct {
	Name    Name
	Addr    string
	Program string    // path of its program
	Began   time.Time // when its process was started

	dir     string
	process *exec.Cmd     // nil: direct
	ended   chan struct{} // closed when the process has ended
}

// Start starts a target for the plan in a new folder below dir and returns when
// it answers.
func Start(ctx context.Context, programs Programs, dir string, name Name, plan Plan) (*Target, error) {
	if name == Direct {
		return &Target{Name: name, Addr: plan.Slow}, nil
	}
	own, err := os.MkdirTemp(dir, string(name)+"-")
	if err != nil {
		return nil, fmt.Errorf("target folder: %w", err)
	}
	t := &Target{Name: name, dir: own, ended: make(chan struct{})}
	if t.Addr, err = freeAddr(); err != nil {
		return nil, err
	}
	r, err := recipeOf(name, plan, kit{programs: programs, dir: own, addr: t.Addr})
	if err != nil {
		return nil, err
	}
	t.Program = r.command[0]
	for file, text := range r.files {
		if err := os.WriteFile(filepath.Join(own, file), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("target file: %w", err)
		}
	}
	if plan.Core >= 0 {
		r.command = append([]string{programs.Taskset, "-c", strconv.Itoa(plan.Core)}, r.command...)
	}
	if err := t.launch(r); err != nil {
		return nil, err
	}
	if err := t.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), t.Stop())
	}
	return t, nil
}

// launch starts the process. Its output goes to a file in its folder.
func (t *Target) launch(r recipe) error {
	output, err := os.Create(filepath.Join(t.dir, "output"))
	if err != nil {
		return fmt.Errorf("target output: %w", err)
	}
	t.process = exec.Command(r.command[0], r.command[1:]...)
	t.process.Dir = t.dir
	t.process.Env = append(os.Environ(), r.env...)
	t.process.Stdout, t.process.Stderr = output, output
	t.process.SysProcAttr = proc.EndWithParent()
	t.Began = time.Now()
	err = t.process.Start()
	if err = errors.Join(err, output.Close()); err != nil {
		return fmt.Errorf("starting %s: %w", t.Name, err)
	}
	go func() {
		defer close(t.ended)
		// A signal ends the process, so its status has no meaning; ready and
		// Stop read its output.
		_ = t.process.Wait()
	}()
	return nil
}

// ready waits until the target answers. NGINX accepts connections before it has
// started its workers.
func (t *Target) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for {
		err := t.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-retry.C:
		case <-t.ended:
			return fmt.Errorf("ended at its start: %s", t.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w: %s", errors.Join(context.Cause(ctx), err), t.lastWords())
		}
	}
}

// badRequest is rejected by all targets. It is longer than the preface of HTTP/2, for
// which Caddy looks first.
const badRequest = "?\r\nX-Padding: 0123456789abcdef\r\n\r\n"

// answers sends a request that the target rejects without its upstream, and reads
// the first byte of the answer.
func (t *Target) answers(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the answer counts
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("setting deadline: %w", err)
	}
	if _, err := io.WriteString(conn, badRequest); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("reading answer: %w", err)
	}
	return nil
}

// lastWords returns the last line of the process's output.
func (t *Target) lastWords() []byte {
	output, err := os.ReadFile(filepath.Join(t.dir, "output"))
	if err != nil {
		return []byte(err.Error())
	}
	output = bytes.TrimSpace(output)
	return output[bytes.LastIndexByte(output, '\n')+1:]
}

// LogLine is an error that Caddy has logged.
type LogLine struct {
	TS    float64 `json:"ts"` // seconds since 1970
	Level string  `json:"level"`
	Msg   string  `json:"msg"`
}

// At returns the time of the line.
func (l LogLine) At() time.Time { return time.Unix(0, int64(l.TS*1e9)) }

// Errors returns what a Caddy target has logged so far.
func (t *Target) Errors() ([]LogLine, error) {
	output, err := os.ReadFile(filepath.Join(t.dir, "output"))
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", t.Name, err)
	}
	var lines []LogLine
	for text := range bytes.Lines(output) {
		var line LogLine
		// Other programs write other lines, and a last one can be incomplete.
		if json.Unmarshal(text, &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// Reload makes a Caddy target load its configuration again.
func (t *Target) Reload() error {
	if err := proc.Signal(t.process.Process.Pid, proc.Reload); err != nil {
		return fmt.Errorf("reloading %s: %w", t.Name, err)
	}
	return nil
}

// PIDs returns the processes of the target.
func (t *Target) PIDs() ([]int, error) {
	if t.process == nil {
		return nil, nil
	}
	pids, err := proc.Tree(t.process.Process.Pid)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return pids, nil
}

// Stop ends the target and removes its folder.
func (t *Target) Stop() error {
	if t.process == nil {
		return nil
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if t.hasEnded(0) {
			break
		}
		if err := proc.Signal(t.process.Process.Pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stopping %s: %w", t.Name, err)
		}
		t.hasEnded(stopTimeout)
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("removing files of %s: %w", t.Name, err)
	}
	return nil
}

// hasEnded waits at most d for the end of the process.
func (t *Target) hasEnded(d time.Duration) bool {
	select {
	case <-t.ended:
		return true
	case <-time.After(d):
		return false
	}
}
