package caddymodule_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// startRun starts "caddy offload run" without waiting for its service, and waits for its
// banner.
func startRun(t *testing.T, args ...string) (url string, cmd *exec.Cmd, out *lockedBuffer) {
	t.Helper()
	addr := site.FreeAddr(t)
	cmd = caddyCommand(t, append([]string{"offload", "run", "--admin", "off", "--from", addr}, args...)...)
	out = new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it may have ended
	})
	testkit.Eventually(t, func() bool { return strings.Contains(out.String(), "caddy offload: http://"+addr+" -> ") })
	return "http://" + addr, cmd, out
}

// answerOf returns status and body of a request on a separate connection.
func answerOf(t *testing.T, url string) (int, string) {
	t.Helper()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// A load balancer sees whether the service takes connections, without a request to it.
func TestSidecarIsReadyWhileItsServiceTakesConnections(t *testing.T) {
	addr := site.FreeAddr(t)
	url, _, _ := startRun(t, "--to", addr, "--ready", "/ready", "--concurrency", "1", "--queue", "0")
	if status, body := answerOf(t, url+"/ready"); status != 503 || body != "the service takes no connections\n" {
		t.Errorf("got %d %s", status, body)
	}
	reserved, err := caddy.ParseNetworkAddress(addr) // Caddy shares it with the reservation
	if err != nil {
		t.Fatal(err)
	}
	listener, err := reserved.Listen(t.Context(), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ln := listener.(net.Listener)
	var up site.Counter
	service := &httptest.Server{Listener: ln, Config: &http.Server{Handler: hang(&up)}}
	service.Start()
	defer service.Close()
	if status, body := answerOf(t, url+"/ready"); status != 200 || body != "ready\n" {
		t.Errorf("got %d %s", status, body)
	}
	if got := up.Total.Load(); got != 0 {
		t.Errorf("the service got %d requests", got)
	}
	go func() { _, _ = http.Get(url + "/hold") }() // the only permit
	testkit.Eventually(t, func() bool { return up.Total.Load() == 1 })
	for path, want := range map[string]int{"/more": 503, "/ready": 200} {
		if status, _ := answerOf(t, url+path); status != want {
			t.Errorf("%s of a busy service: got %d, want %d", path, status, want)
		}
	}
	service.CloseClientConnections()
	ln.Close()
	testkit.Eventually(t, func() bool { status, _ := answerOf(t, url+"/ready"); return status == 503 })
}

// After SIGTERM a load balancer has the time of --shutdown-delay to notice, while requests
// are served as before.
func TestSidecarIsNotReadyWhileItExits(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "behind") }))
	defer upstream.Close()
	url, cmd, _ := startRun(t, "--to", upstream.Listener.Addr().String(), "--ready", "/ready", "--shutdown-delay", "10s")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() bool {
		status, body := answerOf(t, url+"/ready")
		return status == 503 && body == "exiting\n"
	})
	if status, body := answerOf(t, url); status != 200 || body != "behind" {
		t.Errorf("got %d %s", status, body)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// A service that hangs does not keep the sidecar alive after SIGTERM.
func TestSidecarEndsThoughItsServiceHangs(t *testing.T) {
	var up site.Counter
	service := httptest.NewServer(hang(&up))
	defer service.Close()
	defer service.CloseClientConnections()
	url, cmd, out := startRun(t, "--to", service.Listener.Addr().String(), "--grace", "300ms")
	go func() { _, _ = http.Get(url) }()
	testkit.Eventually(t, func() bool { return up.Total.Load() > 0 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_ = testkit.Receive(t, ended) // fails if it goes on
	if !strings.Contains(out.String(), "SIGTERM") {
		t.Errorf("it ended before\n%s", out)
	}
}

// The banner names the protected paths, the limits, and the command that shows them.
func TestSidecarSaysWhatItProtects(t *testing.T) {
	admin := site.FreeAddr(t)
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	for args, want := range map[string]string{
		"--match /report/* --match /export/* --concurrency 1": "caddy offload: /report/* /export/*: 1 at a time, 100 wait for 10s at most; other requests pass untouched\n",
		"--queue 0":                         "caddy offload: all requests: 8 at a time, none waits\n",
		"--max-wait off --match /report":    "caddy offload: /report: 8 at a time, 100 wait; other requests pass untouched\ncaddy offload: --match /report is this one path",
		"--concurrency off --match /slow/*": "caddy offload: /slow/*: any number at a time; other requests pass untouched\n",
	} {
		t.Run(args, func(t *testing.T) {
			addr := site.FreeAddr(t)
			cmd := caddyCommand(t, append([]string{"offload", "run", "--admin", admin, "--from", addr, "--to", upstream.Listener.Addr().String()}, strings.Fields(args)...)...)
			out := new(lockedBuffer)
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Signal(os.Interrupt)
				_ = cmd.Wait() // it ends by the signal
			}()
			look := "caddy offload: to look at it: caddy offload top --address '" + admin + "'\n"
			testkit.Eventually(t, func() bool { return strings.Contains(out.String(), look) })
			if !strings.Contains(out.String(), want) {
				t.Errorf("got %s, want %s", out, want)
			}
			if got := command(t, "pools", "--address", admin); got.code != 0 || !strings.Contains(got.out, "sidecar") {
				t.Errorf("the command shows %+v", got)
			}
		})
	}
}
