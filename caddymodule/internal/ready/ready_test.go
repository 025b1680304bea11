package ready

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// provisioned returns a handler for these backends.
func provisioned(t *testing.T, upstreams ...string) (*Handler, error) {
	t.Helper()
	h := &Handler{Upstreams: upstreams}
	return h, h.Provision(caddy.Context{Context: context.Background()})
}

// ask returns status and body of an answer.
func ask(t *testing.T, h *Handler) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil), nil); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	return w.Code, w.Body.String()
}

// listen takes connections at an address, and reads none.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// One backend that takes a connection is enough, in each form of its address.
func TestReadyWhileABackendTakesConnections(t *testing.T) {
	t.Parallel()
	tcp := listen(t, "tcp", "127.0.0.1:0").Addr().String()
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	socket := filepath.Join(t.TempDir(), "socket")
	listen(t, "unix", socket)
	for _, test := range []struct {
		upstreams string
		status    int
	}{
		{tcp, 200},
		{"http://" + tcp, 200},
		{closed.Addr().String() + " " + tcp, 200},
		{"unix/" + socket, 200},
		{closed.Addr().String(), 503},
		{"unix/" + socket + ".missing", 503},
	} {
		h, err := provisioned(t, strings.Fields(test.upstreams)...)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := ask(t, h); status != test.status || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: got %d %s, want %d", test.upstreams, status, body, test.status)
		}
	}
}

func TestNotReadyWhileTheProcessExits(t *testing.T) {
	t.Parallel()
	h, err := provisioned(t, listen(t, "tcp", "127.0.0.1:0").Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	exiting := false
	h.exiting = func() bool { return exiting }
	if status, _ := ask(t, h); status != 200 {
		t.Errorf("got %d", status)
	}
	exiting = true
	if status, body := ask(t, h); status != 503 || body != "exiting\n" {
		t.Errorf("got %d %s", status, body)
	}
}

func TestAddressesOfBackends(t *testing.T) {
	t.Parallel()
	for upstream, want := range map[string]string{
		"127.0.0.1:8000": "127.0.0.1:8000", "example.com": "example.com:80", "http://example.com": "example.com:80",
		"https://example.com": "example.com:443", "h2c://[::1]:8000": "[::1]:8000",
	} {
		if got, err := parseUpstream(upstream); err != nil || got.JoinHostPort(0) != want {
			t.Errorf("%s: got %s %v, want %s", upstream, got.JoinHostPort(0), err, want)
		}
	}
	for _, upstreams := range [][]string{nil, {"127.0.0.1:port"}, {""}} {
		if _, err := provisioned(t, upstreams...); err == nil {
			t.Errorf("%v is taken", upstreams)
		}
	}
}
