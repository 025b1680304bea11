package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// stage is a store, its journal and the children that use the store one after the other.
type stage struct {
	*testing.T
	folder  string
	sealed  bool // the store is encrypted
	journal string
	boots   int
	keys    []int // of the next child
	rejects bool  // submissions may be rejected
}

func newStage(t *testing.T, folder string) *stage {
	return &stage{T: t, folder: folder, journal: filepath.Join(t.TempDir(), "journal")}
}

// process is a child that runs.
type process struct {
	stage  *stage
	cmd    *exec.Cmd
	input  io.Closer
	ready  chan struct{} // closed when the child is ready or has ended
	output bytes.Buffer  // of errors
}

// start starts the next child.
func (s *stage) start(o order) *process {
	s.Helper()
	s.boots++
	o.Folder, o.Sealed, o.Journal, o.Boot, o.Keys = s.folder, s.sealed, s.journal, s.boots, s.keys
	text, err := json.Marshal(o)
	if err != nil {
		s.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	p := &process{stage: s, cmd: exec.CommandContext(s.Context(), exe), ready: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = &p.output
	out, in, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	p.cmd.Stdout = in
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		s.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	in.Close()
	go func() {
		defer out.Close()
		_, _ = bufio.NewReader(out).ReadString('\n')
		close(p.ready)
		_, _ = io.Copy(io.Discard, out)
	}()
	return p
}

// wait waits until the child has ended, and reports whether it has done so without an error.
func (p *process) wait() bool {
	p.stage.Helper()
	timer := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	return p.cmd.Wait() == nil
}

// kill kills the child.
func (p *process) kill() {
	p.stage.Helper()
	_ = p.cmd.Process.Kill()
	if p.wait() || p.output.Len() > 0 {
		p.stage.Fatalf("the child was not killed: %s", p.output.String())
	}
}

// stop asks the child to end, and waits until it has done so.
func (p *process) stop() {
	p.stage.Helper()
	p.input.Close()
	if !p.wait() {
		p.stage.Fatalf("the child has not stopped: %s", p.output.String())
	}
}

// end kills a child whose store has failed.
func (p *process) end() {
	p.stage.Helper()
	_ = p.cmd.Process.Kill()
	p.wait()
}

// drain starts a child that runs the jobs that are left, and ends.
func (s *stage) drain() {
	s.Helper()
	if p := s.start(order{}); !p.wait() {
		s.Fatalf("the last child has failed: %s", p.output.String())
	}
}

// again takes the last keys of the last child for the next one, which submits them once more.
func (s *stage) again(n int) {
	s.Helper()
	s.keys = nil
	if s.boots == 0 {
		return
	}
	for _, l := range s.lines() {
		if l.Boot == s.boots && l.What == submitted {
			s.keys = append(s.keys, l.Key)
		}
	}
	s.keys = s.keys[max(0, len(s.keys)-n):]
}
