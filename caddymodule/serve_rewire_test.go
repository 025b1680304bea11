package caddymodule_test

import (
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// serveFastCGI is a backend that speaks FastCGI.
func serveFastCGI(t *testing.T, h http.Handler) (addr, root string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { _ = fcgi.Serve(listener, h) }()
	root = t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.php"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String(), root
}

// serveHTTP2 is a backend that speaks nothing but HTTP/2, over TLS or in the clear.
func serveHTTP2(t *testing.T, h http.Handler, secure bool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	t.Cleanup(s.Close)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	return s.Listener.Addr().String()
}

// At any place of a reverse_proxy behind an offload, and with any transport, the client is
// answered at its timeout, and the permit is released when the backend has ended, not
// before.
func TestEveryProxyCanBeLeft(t *testing.T) {
	const offload = "offload {\n name left\n first_byte_timeout 150ms\n breaker off\n }\n"
	up := newBusy()
	php, root := serveFastCGI(t, up)
	for name, body := range map[string]string{
		"directive":   offload + "reverse_proxy UPSTREAM",
		"handle":      "handle {\n" + offload + "reverse_proxy UPSTREAM\n }",
		"handle in":   offload + "handle {\n reverse_proxy UPSTREAM\n }",
		"handle_path": offload + "handle_path /* {\n reverse_proxy UPSTREAM\n }",
		"route":       "route {\n" + offload + "reverse_proxy UPSTREAM\n }",
		"subroutes":   "route {\n" + offload + "route {\n handle {\n route {\n reverse_proxy UPSTREAM\n }\n }\n }\n }",
		"named":       offload + "invoke works\n }\n &(works) {\n reverse_proxy UPSTREAM",
		"named around": "invoke works\n }\n &(works) {\n route {\n" + offload +
			"reverse_proxy UPSTREAM\n }",
		"error routes": "error 404\n handle_errors {\n" + offload + "reverse_proxy UPSTREAM\n }",
		"handle_response": offload + "reverse_proxy UPSTREAM {\n rewrite /free\n @ok status 200\n handle_response @ok {\n" +
			"rewrite /\n reverse_proxy UPSTREAM\n }\n }",
		"intercept": "route {\n" + offload + "intercept {\n @ok status 200\n handle_response @ok {\n reverse_proxy UPSTREAM\n }\n }\n respond ok\n }",
		"auth":      "route {\n" + offload + "forward_auth UPSTREAM {\n uri /\n }\n }",
		"php":       offload + "root " + root + "\n php_fastcgi " + php,
		"options":   offload + "reverse_proxy UPSTREAM {\n transport http {\n keepalive off\n dial_timeout 1s\n }\n }",
		"h2c":       offload + "reverse_proxy h2c://" + serveHTTP2(t, up, false),
		"tls": offload + "reverse_proxy https://" + serveHTTP2(t, up, true) +
			" {\n transport http {\n tls_insecure_skip_verify\n versions 2\n }\n }",
	} {
		t.Run(name, func(t *testing.T) {
			s, o := serveOperated(t, up, body)
			c := s.Clients()["h2"]
			want := 504
			if name == "error routes" {
				want = 404 // Caddy answers with the first error when another one follows
			}
			if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != want {
				t.Errorf("got %d", res.StatusCode)
			}
			testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
			o.counts("left", 1, 1)
			select {
			case <-up.gone:
				t.Error("the backend was cancelled")
			default:
			}
			up.end(t, 1)
			o.counts("left", 0, 0)
		})
	}
}

// The configuration as adapted, and as shown by the admin endpoint, does not contain the
// inserted transport.
func TestAdaptedConfigurationsAreTheUsers(t *testing.T) {
	s, o := serveOperated(t, newBusy(), "offload\n reverse_proxy UPSTREAM")
	if text := string(s.Config("offload\n reverse_proxy UPSTREAM")); strings.Contains(text, `"protocol"`) {
		t.Errorf("adapted to %s", text)
	}
	if _, text := o.raw(http.MethodGet, "/config/", ""); strings.Contains(string(text), `"protocol"`) {
		t.Errorf("shown as %s", text)
	}
	site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/free")
}

// Without offload no proxy is changed: there is nothing that a run could leave.
func TestConfigurationsWithoutOffload(t *testing.T) {
	up := newBusy()
	s := site.Serve(t, up, "reverse_proxy UPSTREAM")
	c := s.Clients()["h2"]
	site.Leave(t, c, "https://"+s.Addr+"/closed", func() { // reverse_proxy cancels by itself
		testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
	})
	<-up.gone
	testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
}

// Active health checks go through the same transport, with its scheme.
func TestHealthChecksGoThrough(t *testing.T) {
	var up site.Counter
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.Write([]byte("answer"))
			return
		}
		up.Enter()
		defer up.Leave()
		if (r.TLS != nil) != (r.Host != "") || r.ProtoMajor < 1 {
			w.WriteHeader(500)
		}
	})
	secure := httptest.NewTLSServer(h)
	t.Cleanup(secure.Close)
	const checks = " {\n health_uri /health\n health_interval 50ms\n"
	for name, body := range map[string]string{
		"in the clear": "reverse_proxy UPSTREAM" + checks + "}",
		"over TLS": "reverse_proxy https://" + secure.Listener.Addr().String() + checks +
			"transport http {\n tls_insecure_skip_verify\n }\n }",
	} {
		t.Run(name, func(t *testing.T) {
			before := up.Total.Load()
			s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/health" {
					up.Enter()
					up.Leave()
					return
				}
				w.Write([]byte("answer"))
			}), "offload\n"+body)
			testkit.Eventually(t, func() bool { return up.Total.Load() > before+2 })
			if res, text := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != 200 || text != "answer" {
				t.Errorf("got %d %q", res.StatusCode, text)
			}
		})
	}
}
