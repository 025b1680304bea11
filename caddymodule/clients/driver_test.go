//go:build integration

package clients

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience is how long a call may take on a busy machine.
const patience = 4 * time.Minute

// call is one call of a client's user.
type call struct {
	ID     string            `json:"id"`
	URL    string            `json:"url"`
	Method string            `json:"method"`
	Fields map[string]string `json:"fields"`
	Bytes  int               `json:"bytes"`
	Obey   bool              `json:"obey"`
}

// seen is what its caller sees: an answer, the status and message of gRPC, or an error.
type seen struct {
	ID     string            `json:"id"`
	Status int               `json:"status"`
	Fields map[string]string `json:"fields"`
	Body   string            `json:"body"`
	Error  string            `json:"error"`
	Detail string            `json:"detail"`
}

// caller makes calls with a client, many at once.
type caller interface {
	call(t *testing.T, c call) seen
	versions() string
}

// driver is a process with a client in its own language. It gets and answers lines.
type driver struct {
	version string

	mu    sync.Mutex
	in    io.Writer
	calls map[string]chan<- seen // those under way
}

func startDriver(t *testing.T, args []string) *driver {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (has .ci/clients been run?)", err)
	}
	d := &driver{in: in, calls: map[string]chan<- seen{}}
	lines, read := bufio.NewReader(out), make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it was killed
	})
	first, err := lines.ReadBytes('\n')
	var hello struct{ Versions string }
	if err == nil {
		err = json.Unmarshal(first, &hello)
	}
	if err != nil {
		close(read)
		t.Fatalf("%v says %q: %v (has .ci/clients been run?)", args, first, err)
	}
	d.version = hello.Versions
	go func() {
		defer close(read)
		d.read(lines)
	}()
	return d
}

// read hands answers to their calls until the process ends, with which those that are
// still under way end too.
func (d *driver) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadBytes('\n')
		var one seen
		if err == nil {
			err = json.Unmarshal(line, &one)
		}
		d.mu.Lock()
		if err != nil {
			for _, answer := range d.calls {
				close(answer)
			}
			d.calls = nil
			d.mu.Unlock()
			return
		}
		d.calls[one.ID] <- one
		delete(d.calls, one.ID)
		d.mu.Unlock()
	}
}

func (d *driver) versions() string { return d.version }

func (d *driver) call(t *testing.T, c call) seen {
	t.Helper()
	if c.Fields == nil {
		c.Fields = map[string]string{} // not null
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan seen, 1)
	d.mu.Lock()
	if d.calls == nil {
		d.mu.Unlock()
		t.Errorf("%s: the client's process has ended", d.version)
		return seen{}
	}
	d.calls[c.ID] = answer
	_, err = d.in.Write(append(text, '\n'))
	d.mu.Unlock()
	if err != nil {
		t.Error(err)
		return seen{}
	}
	select {
	case one, ok := <-answer:
		if !ok {
			t.Errorf("%s: the client's process has ended", d.version)
		}
		return one
	case <-time.After(patience):
		t.Errorf("%s: no answer for %s %s within %v", d.version, c.Method, c.URL, patience)
		return seen{}
	}
}
