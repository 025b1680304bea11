//go:build integration

package clients

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// proxy is a Caddy between the clients and their backends.
type proxy struct {
	clear, secure string // origins
	other         string // another origin of the same site
	admin         string
	accessLog     string
	backend       *backend
	http          *http.Client
}

// The clients' addresses come in X-Forwarded-For, since all are on this machine.
const config = `{
	admin %[1]s
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	servers {
		trusted_proxies static private_ranges
		protocols h1 h2 h2c
	}
	offload {
		proxy_status_name lab
		%[2]s
	}
}
(site) {
	log {
		output file %[3]s
		format json
	}
	%[4]s
	@grpc header Content-Type application/grpc*
	reverse_proxy @grpc h2c://%[5]s
	reverse_proxy %[6]s
}
http://%[7]s, http://%[8]s {
	import site
}
https://%[9]s {
	tls internal
	import site
}
`

// startProxy starts one with named pools and routes.
func startProxy(t *testing.T, pools, routes string) *proxy {
	t.Helper()
	folder := t.TempDir()
	addr := func() string { return net.JoinHostPort(services.Loopback, lab.Port(t)) }
	clear, other, secure, admin, grpc := addr(), addr(), addr(), addr(), addr()
	p := &proxy{
		"http://" + clear, "https://" + secure, "http://" + other, admin, filepath.Join(folder, "access.log"), newBackend(),
		&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
	}
	t.Cleanup(p.http.CloseIdleConnections)
	upstream := httptest.NewServer(p.backend)
	t.Cleanup(upstream.Close)
	t.Cleanup(p.backend.end)
	text := fmt.Sprintf(config, admin, pools, p.accessLog, routes, grpc, upstream.Listener.Addr(), clear, other, secure)
	file := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, services.Program{
		Name: "the gRPC backend", Args: []string{labProgram, "backend", grpc}, Log: filepath.Join(folder, "grpc"),
	}, grpc)
	start(t, services.Program{
		Name: "Caddy", Args: []string{os.Args[0], "run", "--config", file, "--adapter", "caddyfile"}, Log: filepath.Join(folder, "log"),
		Env: []string{asCaddy + "=1", "XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder},
	}, clear)
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the certificate signs itself
	defer insecure.CloseIdleConnections()
	p.eventually(t, "Caddy has its certificate", func() bool {
		res, err := insecure.Get(p.secure + "/ready")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return p
}

// start starts a program that ends with the test.
func start(t *testing.T, p services.Program, addr string) {
	t.Helper()
	server, err := services.StartServer(t.Context(), p, services.Listening(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
}

// ask asks the admin endpoint.
func (p *proxy) ask(t *testing.T, method, path, body string, into any) (status int) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+p.admin+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	res, err := p.http.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Errorf("%s %s: %v: %s", method, path, err, text)
	}
	return res.StatusCode
}

// origin is where a client sends a call.
func (p *proxy) origin(secure bool) string {
	if secure {
		return p.secure
	}
	return p.clear
}

// backend answers at once but below some paths.
type backend struct {
	over    chan struct{}
	reports *reports
}

func newBackend() *backend {
	over := make(chan struct{})
	return &backend{over, newReports(over)}
}

// end ends the requests that are still held.
func (b *backend) end() { close(b.over) }

// runFor is how long the backend works on a request of the crowd.
const runFor = 200 * time.Millisecond

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	wait := time.Duration(0)
	switch first {
	case "crowd":
		wait = runFor
	case "hold", "timeout", "timeout-501", "cancelled":
		wait = time.Hour
	case "page", "visit", "report", "stream":
		b.reports.ServeHTTP(w, r)
		return
	}
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
	case <-b.over:
	}
	_, _ = io.WriteString(w, "done\n")
}
