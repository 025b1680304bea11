//go:build integration

package backends

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// user is a new user of the sidecar: it types the commands of the documents.
type user struct {
	t      *testing.T
	served *served
	kind   string
	path   string // of the blocking route
	fast   string

	url, admin string
	sidecar    *exec.Cmd
	log        string // a file
}

// output returns what the sidecar has printed.
func (u *user) output() string {
	text, err := os.ReadFile(u.log)
	if err != nil {
		u.t.Error(err)
	}
	return string(text)
}

// The ways of a new user, in front of servers of three kinds: install, protect, overload,
// look, change, drain, and end. Each step is a command as it is documented.
func TestNewUsersGetAlong(t *testing.T) {
	for _, n := range newcomers {
		if n.php {
			continue // its sidecar speaks FastCGI, which other tests see
		}
		t.Run(n.name, func(t *testing.T) {
			u := &user{t: t, served: begin(t, n.backend, start{workers: n.workers}), kind: n.kind, path: n.root + "/" + n.path, fast: n.root + "/fast"}
			u.installs()
			u.protects()
			u.overloads()
			u.drains()
			u.ends()
		})
	}
}

// caddy prepares the program with its data in a folder of the test.
func (u *user) caddy(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), os.Args[0], args...)
	folder := u.t.TempDir()
	cmd.Env = append(os.Environ(), asCaddy+"=1", "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	return cmd
}

// types runs a command to its end, and returns its output and its exit code.
func (u *user) types(args ...string) (string, int) {
	u.t.Helper()
	out, err := u.caddy(args...).CombinedOutput()
	if exited := new(exec.ExitError); err != nil && !errors.As(err, &exited) {
		u.t.Fatal(err)
	} else if err != nil {
		return string(out), exited.ExitCode()
	}
	return string(out), 0
}

// sees runs a command of "caddy offload", which must print something.
func (u *user) sees(want string, args ...string) string {
	u.t.Helper()
	out, code := u.types(append(append([]string{"offload"}, args...), "--address", u.admin)...)
	if code != 0 || !strings.Contains(out, want) {
		u.t.Errorf("%v: code %d, got\n%s\nwant %s", args, code, out, want)
	}
	return out
}

// installs checks that the program is the right one.
func (u *user) installs() {
	u.t.Helper()
	if out, code := u.types("offload", "version"); code != 0 || !strings.HasPrefix(out, "caddy-offload ") {
		u.t.Errorf("version: code %d, %s", code, out)
	}
	if out, _ := u.types("list-modules"); !strings.Contains(out, "http.handlers.offload\n") {
		u.t.Errorf("list-modules: %s", out)
	}
}

// protects starts the sidecar of the README, with a short queue.
func (u *user) protects() {
	u.t.Helper()
	port, admin := lab.Port(u.t), lab.Port(u.t)
	_, to, _ := strings.Cut(u.served.addr, ":")
	u.url, u.admin = "http://"+services.Loopback+":"+port, services.Loopback+":"+admin
	args := []string{
		"offload", "run", "--from", services.Loopback + ":" + port, "--to", to, "--match", u.path + "*",
		"--backend", u.kind, "--queue", "2", "--concurrency", "1", "--max-wait", "5m", "--ready", "/ready", "--admin", u.admin, "--grace", "20s",
	}
	if out, code := u.types(append(args, "--print")...); code != 0 || !strings.Contains(out, "reverse_proxy "+u.served.addr) {
		u.t.Errorf("--print: code %d, %s", code, out)
	}
	u.sidecar, u.log = u.caddy(args...), filepath.Join(u.t.TempDir(), "log")
	log, err := os.Create(u.log)
	if err != nil {
		u.t.Fatal(err)
	}
	defer log.Close()
	u.sidecar.Stdout, u.sidecar.Stderr = log, log
	if err := u.sidecar.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = u.sidecar.Process.Kill() })
	if !testkit.Poll(startTimeout, func() bool { return status(u.url+"/ready") == http.StatusOK }) {
		u.t.Fatalf("it is not ready\n%s", u.output())
	}
	want := u.path + "*: 1 at a time, 2 wait for 5m at most; other requests pass untouched"
	if !testkit.Poll(patience, func() bool { return strings.Contains(u.output(), want) }) { // it is printed once the server runs
		u.t.Errorf("the banner is %s, want %s", u.output(), want)
	}
}

// asks sends a request to the blocking route, and returns a channel with its status.
func (u *user) asks(id string) <-chan int {
	done := make(chan int, 1)
	go func() { done <- status(fmt.Sprintf("%s%s?id=%s&seconds=2", u.url, u.path, id)) }()
	return done
}

// overloads fills the pool and its queue, and looks at what happens to the next request.
func (u *user) overloads() {
	u.t.Helper()
	served := []<-chan int{u.asks("first")}
	measurement{t: u.t, j: u.served.journal}.await("start", "first")
	served = append(served, u.asks("second"), u.asks("third"))
	if !testkit.Poll(patience, func() bool { return strings.Contains(u.sees("sidecar", "pools"), " 2/2 ") }) {
		u.t.Fatal("nothing waits")
	}
	res, err := http.Get(u.url + u.path + "?id=fourth&seconds=2")
	if err != nil {
		u.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		u.t.Errorf("the fourth got %s %v", res.Status, res.Header)
	}
	u.sees("queue_full", "explain", res.Header.Get("Offload-Request-Id"))
	u.sees("1 pool", "top")
	u.changes()
	u.sees(u.path, "waiting", "sidecar")
	u.sees(u.path, "running", "sidecar")
	if got := status(u.url + u.fast); got != http.StatusOK {
		u.t.Errorf("the fast route got %d", got)
	}
	for _, one := range served {
		if got := <-one; got != http.StatusOK {
			u.t.Errorf("a waiter got %d", got)
		}
	}
}

// changes gives the pool a longer queue, and takes it back. A typing error changes nothing.
func (u *user) changes() {
	u.t.Helper()
	u.sees("queue 50 (configured 2)", "set", "sidecar", "queue=50")
	if out, code := u.types("offload", "reest", "sidecar", "--address", u.admin); code != 2 || !strings.Contains(out, "did you mean 'reset'?") {
		u.t.Errorf("a typing error: code %d, %s", code, out)
	}
	u.sees("sidecar: admitting, ", "reset", "sidecar")
}

// drains lets the last request finish, and sees that no other is admitted.
func (u *user) drains() {
	u.t.Helper()
	last := u.asks("last")
	measurement{t: u.t, j: u.served.journal}.await("start", "last")
	u.sees("sidecar: draining, 0/1 running", "drain", "sidecar", "--wait", "1m")
	if got := <-last; got != http.StatusOK {
		u.t.Errorf("the last one got %d", got)
	}
	if got := <-u.asks("late"); got != http.StatusServiceUnavailable {
		u.t.Errorf("a draining pool answers %d", got)
	}
	u.sees("sidecar: admitting", "resume", "sidecar")
	if got := <-u.asks("again"); got != http.StatusOK {
		u.t.Errorf("the pool answers %d again", got)
	}
}

// ends stops the sidecar while a request runs, which finishes.
func (u *user) ends() {
	u.t.Helper()
	last := u.asks("end")
	measurement{t: u.t, j: u.served.journal}.await("start", "end")
	if err := u.sidecar.Process.Signal(syscall.SIGTERM); err != nil {
		u.t.Fatal(err)
	}
	if got := <-last; got != http.StatusOK {
		u.t.Errorf("at the end the run got %d\n%s", got, u.output())
	}
	ended := make(chan error, 1)
	go func() { ended <- u.sidecar.Wait() }()
	if err := testkit.Receive(u.t, ended); err != nil {
		u.t.Errorf("it ends with %v\n%s", err, u.output())
	}
}
