package caddymodule_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// site is a running Caddy with one site on HTTP/1, 2 and 3. Caddy is one per
// process, so tests that use it do not run in parallel.
type site struct {
	t      *testing.T
	addr   string
	log    string // file of the access log
	global string
}

// serve runs Caddy with the body of a site block until the test ends. In it,
// UPSTREAM stands for the upstream's address.
func serve(t *testing.T, upstream http.Handler, body string) *site {
	t.Helper()
	return serveGlobal(t, upstream, "", body)
}

// serveGlobal also takes global options.
func serveGlobal(t *testing.T, upstream http.Handler, global, body string) *site {
	t.Helper()
	if upstream != nil {
		server := httptest.NewServer(upstream)
		t.Cleanup(server.Close)
		body = strings.ReplaceAll(body, "UPSTREAM", server.Listener.Addr().String())
	}
	s := &site{t: t, addr: freeAddr(t), global: global}
	s.log = filepath.Join(t.TempDir(), "access.log")
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	s.load(body)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// config returns the JSON of a site with that body.
func (s *site) config(body string) []byte {
	s.t.Helper()
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	grace_period 1s
	log {
		level ERROR
	}
	%s
}
https://%s {
	tls %s %s
	log {
		level INFO
		output file %s
	}
	%s
}
`, s.global, s.addr, certificate().cert, certificate().key, s.log, body)
	adapter := caddyconfig.GetAdapter("caddyfile")
	config, _, err := adapter.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

func (s *site) load(body string) {
	s.t.Helper()
	if err := caddy.Load(s.config(body), true); err != nil {
		s.t.Fatal(err)
	}
}

// clients are one for each version of HTTP. They do not follow redirects and
// use a new connection for each test.
func (s *site) clients() map[string]*http.Client {
	insecure := &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"}
	h1 := &http.Transport{TLSClientConfig: insecure.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, MaxIdleConnsPerHost: 100}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	s.t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		_ = h3.Close()
	})
	return map[string]*http.Client{"h1": {Transport: h1}, "h2": {Transport: h2}, "h3": {Transport: h3}}
}

// eachVersion runs f as a sub-test for each version of HTTP.
func (s *site) eachVersion(f func(t *testing.T, c *http.Client, url string)) {
	for name, c := range s.clients() {
		s.t.Run(name, func(t *testing.T) { f(t, c, "https://"+s.addr) })
	}
}

// accessLog waits until n requests were logged and returns their lines.
func (s *site) accessLog(n int) []map[string]any {
	s.t.Helper()
	var lines []map[string]any
	eventually(s.t, func() bool {
		lines = nil
		text, err := os.ReadFile(s.log)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) == nil {
				lines = append(lines, fields)
			}
		}
		return len(lines) >= n
	})
	return lines
}

// certificate is for 127.0.0.1, in files, made once.
var certificate = sync.OnceValue(func() (pair struct{ cert, key string }) {
	dir, err := os.MkdirTemp("", "offload-test")
	if err != nil {
		panic(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	pair.cert, pair.key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		pair.cert: {Type: "CERTIFICATE", Bytes: cert},
		pair.key:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			panic(err)
		}
	}
	return pair
})

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// eventually polls a condition of something in another goroutine or process.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within 10s")
		}
		<-time.After(2 * time.Millisecond)
	}
}

// counter is an upstream's own count of what it has to do at once.
type counter struct{ now, most, total atomic.Int64 }

func (c *counter) enter() {
	n := c.now.Add(1)
	c.total.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
}

func (c *counter) leave() { c.now.Add(-1) }

// behind is a handler for the test's own code at the end of a route. It is the
// directive "behind <name>".
type behind struct {
	Name string `json:"name,omitempty"`
}

var behindFuncs = map[string]func(w http.ResponseWriter, r *http.Request) error{}

func init() {
	caddy.RegisterModule(behind{})
	httpcaddyfile.RegisterHandlerDirective("behind", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		b := new(behind)
		return b, b.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("behind", httpcaddyfile.Before, "respond")
}

func (behind) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.behind", New: func() caddy.Module { return new(behind) }}
}

func (b *behind) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&b.Name) {
		return d.ArgErr()
	}
	return nil
}

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return behindFuncs[b.Name](w, r)
}

// handleBehind makes f the handler "behind <test's name>" and returns that.
func handleBehind(t *testing.T, f func(w http.ResponseWriter, r *http.Request) error) string {
	behindFuncs[t.Name()] = f
	t.Cleanup(func() { delete(behindFuncs, t.Name()) })
	return "behind " + t.Name()
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, c, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return res, b.String()
}

// leave starts a request and gives it up once leaveWhen returns.
func leave(t *testing.T, c *http.Client, url string, leaveWhen func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if res, err := c.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	leaveWhen()
	cancel()
	<-done
}
