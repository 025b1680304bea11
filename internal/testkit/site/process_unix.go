//go:build unix

package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// Process is a Caddy in a process of its own, which can be killed or run short of
// something, and whose memory and files are counted apart from those of the test.
// It is the test's own binary again, so all that the test imports is in it.
type Process struct {
	*Site
	admin  string // address of the admin API
	limits Limits
	config string // file
	output string // file with all that it said
	cmd    *exec.Cmd
}

// Limits of a process. Zero is none.
type Limits struct {
	// FileSize is how far a file can grow, in bytes. To a program that looks
	// like a full disk.
	FileSize uint64
	// OpenFiles is how many descriptors it can have, connections included.
	OpenFiles uint64
	// Goroutines is no limit but how many have been at once before Caddy starts.
	// The runtime never gives back what it keeps of each, so a test that compares
	// levels of memory needs more than there will ever be.
	Goroutines int
}

// The variables that make a test's binary such a process.
const (
	configEnv = "SITE_PROCESS_CONFIG"
	limitsEnv = "SITE_PROCESS_LIMITS"
)

// Start runs Caddy in a process of its own until the test ends, with global
// options and the body of a site block, as ServeGlobal does in the test's.
func Start(t *testing.T, upstream http.Handler, global, body string, limits Limits) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{
		Site: newSite(t, global, upstreamAddr(t, upstream)), admin: FreeAddr(t), limits: limits,
		config: filepath.Join(dir, "caddy.json"), output: filepath.Join(dir, "output"),
	}
	p.write(p.Config(body))
	t.Cleanup(p.checkOutput)
	t.Cleanup(p.Kill)
	p.Run()
	return p
}

// Config returns the JSON of a site with that body.
func (p *Process) Config(body string) []byte {
	p.t.Helper()
	var config, logging map[string]any
	decode(p.t, p.Site.Config(body), &config)
	config["admin"] = map[string]any{"listen": p.admin, "config": map[string]bool{"persist": false}}
	if !strings.Contains(p.global, "log {") {
		decode(p.t, encode(p.t, config["logging"]), &logging)
		logging["logs"].(map[string]any)["default"].(map[string]any)["level"] = "WARN"
		config["logging"] = logging
	}
	return encode(p.t, config)
}

func (p *Process) write(config []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.config, config, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Run starts the process, also again after a Kill, at the same addresses.
func (p *Process) Run() {
	p.t.Helper()
	output, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer output.Close()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), configEnv+"="+p.config, limitsEnv+"="+p.limits.String())
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if _, err := p.cmd.StdinPipe(); err != nil { // it ends when the test does, however that ends
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.awaitStart()
}

// awaitStart returns when the configuration has been loaded. With the race
// detector that takes seconds.
func (p *Process) awaitStart() {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if text, err := p.askAdmin(http.MethodGet, "/config/", nil); err == nil && len(text) > len("null\n") {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("Caddy does not start: %s", p.Output())
		}
	}
}

// Kill ends the process at once, as a crash would. It does nothing to one that
// was killed already.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// AskToStop does what `caddy stop` does. It returns when all has been stopped.
func (p *Process) AskToStop() error {
	_, err := p.askAdmin(http.MethodPost, "/stop", nil)
	return err
}

// Wait waits until the process has ended by itself and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	cmd := p.cmd
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // the code says more
	p.cmd = nil
	return cmd.ProcessState.ExitCode()
}

// Log returns what the process has logged so far, but for the access log.
func (p *Process) Log() []map[string]any { return Lines(p.output) }

// Load makes the process go on with another body of the site block.
func (p *Process) Load(body string) {
	p.t.Helper()
	if err := p.TryLoad(p.Config(body)); err != nil {
		p.t.Fatal(err)
	}
}

// TryLoad makes the process go on with a configuration, or says why it does not.
func (p *Process) TryLoad(config []byte) error {
	_, err := p.askAdmin(http.MethodPost, "/load", config)
	if _, unheard := errors.AsType[*url.Error](err); unheard { // the endpoint was replaced before it answered
		_, err = p.askAdmin(http.MethodPost, "/load", config)
	}
	return err
}

// Profile returns one of the process's profiles as text, such as that of its heap
// right after a collection.
func (p *Process) Profile(name string) []byte {
	p.t.Helper()
	text, err := p.askAdmin(http.MethodGet, "/debug/pprof/"+name+"?debug=1&gc=1", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// askAdmin asks the admin API for something.
func (p *Process) askAdmin(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+p.admin+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true} // a connection would count as an open file
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return text, err
}

// Output returns all that the process has said so far.
func (p *Process) Output() string {
	p.t.Helper()
	text, err := os.ReadFile(p.output)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// crash finds what no process may say.
var crash = regexp.MustCompile(`(WARNING: DATA RACE|fatal error: |panic: |panic serving|"level":"(panic|fatal)")`)

// crashReport is how much of one is shown, in bytes: both stacks of a race.
const crashReport = 5000

func (p *Process) checkOutput() {
	output := p.Output()
	if at := crash.FindStringIndex(output); at != nil {
		p.t.Errorf("Caddy said: %s", output[at[0]:min(at[0]+crashReport, len(output))])
	}
}

// runProcess makes this process a Caddy if it was started as one.
func runProcess() {
	config := os.Getenv(configEnv)
	if config == "" {
		return
	}
	var limits Limits
	if _, err := fmt.Sscan(os.Getenv(limitsEnv), &limits.FileSize, &limits.OpenFiles, &limits.Goroutines); err != nil {
		panic(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limits.apply()
	runAtOnce(limits.Goroutines)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // the test has ended
	}()
	os.Args = []string{"caddy", "run", "--config", config}
	caddycmd.Main()
}

// String returns what a process is told of its limits.
func (l Limits) String() string { return fmt.Sprint(l.FileSize, l.OpenFiles, l.Goroutines) }

func (l Limits) apply() {
	for resource, limit := range map[int]uint64{syscall.RLIMIT_FSIZE: l.FileSize, syscall.RLIMIT_NOFILE: l.OpenFiles} {
		if limit == 0 {
			continue
		}
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}
}

// runAtOnce returns when there have been n goroutines at once.
func runAtOnce(n int) {
	end := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() { <-end })
	}
	close(end)
	all.Wait()
}
