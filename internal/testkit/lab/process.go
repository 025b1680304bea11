//go:build unix

// Package lab starts real servers for tests: Redis, RabbitMQ and Celery workers,
// each on free ports of the loopback, with data in folders of the test. It finds
// them where `.ci/celery` has installed them.
package lab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// startTimeout is how long a server may take to come up. RabbitMQ needs seconds,
// and more when the machine is busy.
const startTimeout = 90 * time.Second

// process is a server that can be stopped and started again.
type process struct {
	t    Owner
	name string
	path string
	args []string
	env  []string
	dir  string
	up   func(context.Context) error // whether it can be used

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil while it does not run
	exited chan struct{} // closed when cmd has ended
	output tail
}

// guard runs a program and ends everything in its group when that has ended, or
// when the other end of its input is closed, as happens when the tests are killed.
// It waits for the program whatever signal the group gets.
const guard = `trap : TERM INT
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -KILL 0; } &
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
kill -KILL 0`

// start runs the process and waits until it can be used.
func (p *process) start() {
	p.t.Helper()
	p.output.reset()
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "guard", p.path}, p.args...)...)
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end all of it at once
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		lifeline.Close()
		close(exited)
	}()
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	p.await(exited)
}

func (p *process) await(exited <-chan struct{}) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := p.up(ctx)
		if err == nil {
			return
		}
		select {
		case <-exited:
			p.t.Fatalf("%s has ended:\n%s", p.name, p.output.String())
		case <-ctx.Done():
			p.t.Fatalf("%s does not come up: %v\n%s", p.name, err, p.output.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the process and its children.
func (p *process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, s) // it may have ended by itself
	}
}

// Kill ends the process at once, as a crash would.
func (p *process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends the process as its administrator would.
func (p *process) Stop() { p.end(syscall.SIGTERM) }

// Restart starts it again after Kill or Stop.
func (p *process) Restart() {
	p.t.Helper()
	p.start()
}

// Name of the program and its version.
func (p *process) Name() string { return p.name }

// Log returns what the process has said lately.
func (p *process) Log() string { return p.output.String() }

// Running reports whether the process has not ended.
func (p *process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) end(s syscall.Signal) {
	p.Signal(s)
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return
	}
	select {
	case <-exited:
	case <-time.After(startTimeout):
		p.Signal(syscall.SIGKILL)
		<-exited
	}
	p.Signal(syscall.SIGKILL) // children that were left
	p.mu.Lock()
	p.cmd, p.exited = nil, nil
	p.mu.Unlock()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Clone(t.kept))
}

// Port returns a port of the loopback that nobody else gets before the test ends.
func Port(t Owner) string {
	t.Helper()
	var ports services.Ports
	addr, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// program finds one that `.ci/celery` has installed.
func program(t Owner, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not there: run .ci/celery", names[0])
	return ""
}

// errNotYet: the server runs and cannot be used yet.
var errNotYet = errors.New("not yet")

// folder of a server for its data.
func folder(t Owner, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
