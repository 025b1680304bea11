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

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Process is a Caddy in a separate process, which can be killed or limited in its
// resources, and whose memory and files are counted separately from those of the
// test. It runs the test's own binary again, so it has all imports of the test.
type Process struct {
	*Site
	admin  string // address of the admin API
	limits Limits
	config string // file
	output string // file with its whole output
	cmd    *exec.Cmd
}

// Limits of a process. Zero is no limit.
type Limits struct {
	// FileSize is the largest size of a file, in bytes. To a program the limit
	// looks like a full disk.
	FileSize uint64
	// OpenFiles is the number of descriptors, connections included.
	OpenFiles uint64
	// Goroutines is not a limit, but the number of goroutines that run at the same time
	// before Caddy starts. The runtime never releases the memory of a goroutine, so a test
	// that compares levels of memory first starts more of them than Caddy will ever have.
	Goroutines int
}

// Environment variables that make the binary of a test run as such a process.
const (
	configEnv = "SITE_PROCESS_CONFIG"
	limitsEnv = "SITE_PROCESS_LIMITS"
)

// Start runs Caddy in a separate process until the test ends, with global options
// and the body of a site block, as ServeGlobal does in the process of the test.
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

// Config returns the JSON of a site with the given body.
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

// Run starts the process, also again after Kill, at the same addresses.
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
	if _, err := p.cmd.StdinPipe(); err != nil { // it ends with the test, also if that crashes
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.awaitStart()
}

// awaitStart returns when the configuration is loaded, which takes seconds with the race
// detector.
func (p *Process) awaitStart() {
	p.t.Helper()
	if !testkit.Poll(time.Minute, func() bool {
		text, err := p.askAdmin(http.MethodGet, "/config/", nil)
		return err == nil && len(text) > len("null\n")
	}) {
		p.t.Fatalf("Caddy does not start: %s", p.Output())
	}
}

// Kill ends the process immediately, like a crash. A second Kill does nothing.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // reports that it was killed
	p.cmd = nil
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// AskToStop does the same as `caddy stop`. It returns when all apps have stopped.
func (p *Process) AskToStop() error {
	_, err := p.askAdmin(http.MethodPost, "/stop", nil)
	return err
}

// Wait waits until the process has ended on its own and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	cmd := p.cmd
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // the exit code has the result
	p.cmd = nil
	return cmd.ProcessState.ExitCode()
}

// Log returns the log of the process so far, without the access log.
func (p *Process) Log() []map[string]any { return Lines(p.output) }

// Load reloads the process with another body of the site block.
func (p *Process) Load(body string) {
	p.t.Helper()
	if err := p.TryLoad(p.Config(body)); err != nil {
		p.t.Fatal(err)
	}
}

// TryLoad loads a configuration into the process, or returns the reason why that
// failed.
func (p *Process) TryLoad(config []byte) error {
	_, err := p.askAdmin(http.MethodPost, "/load", config)
	if _, unheard := errors.AsType[*url.Error](err); unheard { // the endpoint was replaced before it answered
		_, err = p.askAdmin(http.MethodPost, "/load", config)
	}
	return err
}

// Profile returns a profile of the process as text, such as that of its heap
// right after a collection.
func (p *Process) Profile(name string) []byte {
	p.t.Helper()
	text, err := p.askAdmin(http.MethodGet, "/debug/pprof/"+name+"?debug=1&gc=1", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// askAdmin sends a request to the admin API.
func (p *Process) askAdmin(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+p.admin+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true} // a kept connection would count as an open file
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

// Output returns the whole output of the process so far.
func (p *Process) Output() string {
	p.t.Helper()
	text, err := os.ReadFile(p.output)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// crash matches output that fails a test.
var crash = regexp.MustCompile(`(WARNING: DATA RACE|fatal error: |panic: |panic serving|"level":"(panic|fatal)")`)

// crashReport is the part of a crash that is shown, in bytes: both stacks of a
// race.
const crashReport = 5000

func (p *Process) checkOutput() {
	output := p.Output()
	if at := crash.FindStringIndex(output); at != nil {
		p.t.Errorf("Caddy said: %s", output[at[0]:min(at[0]+crashReport, len(output))])
	} else if p.t.Failed() {
		p.t.Logf("Caddy said at last: %s", output[max(0, len(output)-crashReport):])
	}
}

// runProcess runs Caddy if this process was started for it.
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
	RepeatTermination()
	os.Args = []string{"caddy", "run", "--config", config}
	caddycmd.Main()
}

// RepeatTermination sends SIGTERM to this process again if it comes before Caddy expects it.
// Caddy asks for its signals in a goroutine that may begin after its servers; until then the
// signal would end the process at once.
func RepeatTermination() {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		for range terminated {
			if testkit.Pause(10 * time.Millisecond); !caddy.Exiting() {
				_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			}
		}
	}()
}

// String returns the limits in the form of the environment variable.
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

// runAtOnce returns after n goroutines have run at the same time.
func runAtOnce(n int) {
	end := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() { <-end })
	}
	close(end)
	all.Wait()
}
