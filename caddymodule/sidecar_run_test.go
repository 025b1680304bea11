package caddymodule_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// lockedBuffer gathers the output of a process.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startSidecar runs "caddy offload run" in a process whose default admin endpoint is
// at that address, until the test ends. It returns where it listens, and its output.
func startSidecar(t *testing.T, admin string, args ...string) (url string, out *lockedBuffer) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "behind") }))
	t.Cleanup(upstream.Close)
	_, port, _ := net.SplitHostPort(site.FreeAddr(t))
	cmd := caddyCommand(t, append([]string{"offload", "run", "--from", ":" + port, "--to", upstream.Listener.Addr().String()}, args...)...)
	cmd.Env = append(cmd.Env, "CADDY_ADMIN="+admin)
	out = new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it ends by the signal, whatever its exit code is
	})
	url = "http://127.0.0.1:" + port
	testkit.Eventually(t, func() bool {
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body) == "behind"
	})
	return url, out
}

// The sidecar runs in one line, and the commands find it.
func TestSidecarIsFoundByCommands(t *testing.T) {
	admin := site.FreeAddr(t)
	startSidecar(t, admin, "--concurrency", "3")
	got := command(t, "pools", "--address", admin)
	if got.code != 0 || !strings.Contains(got.out, "sidecar") || !strings.Contains(got.out, "0/3") {
		t.Errorf("got %+v", got)
	}
}

// If another server has the address of the admin endpoint, the sidecar starts without one:
// a reload of one server must not reach the other.
func TestSidecarLeavesTheAdminEndpointOfOthersAlone(t *testing.T) {
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname mine\n\t}\n\trespond ok")
	_, out := startSidecar(t, o.addr)
	if want := "another server has its admin endpoint at " + o.addr + "; this one has none"; !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out, want)
	}
	for range 10 { // a second listener would get some of them
		if got := o.offload("pools"); strings.Contains(got, "sidecar") || !strings.Contains(got, "mine") {
			t.Errorf("got %s", got)
		}
	}
}

// An address that another server has is rejected, for the admin endpoint and for
// requests: on Linux both would listen, and each would get a part.
func TestSidecarRefusesAddressesOfOthers(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	taken := other.Listener.Addr().String()
	for flag, args := range map[string][]string{
		"--from":  {"--from", taken, "--admin", "off"},
		"--admin": {"--from", site.FreeAddr(t), "--admin", taken},
	} {
		got := command(t, append([]string{"run", "--to", "127.0.0.1:1"}, args...)...)
		if want := flag + " " + taken + ": another server listens there"; got.code == 0 || !strings.Contains(got.err, want) {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
}
