// Package site runs Caddy for tests, with a site over HTTP/1, 2 and 3. It is not
// part of any binary. Tests import the modules that they want in this Caddy.
package site

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Site is one site of a running Caddy. A process has one Caddy, so tests that use
// it do not run in parallel.
type Site struct {
	// Addr serves HTTP/1, 2 and 3 over TLS, Clear serves HTTP/1 and 2 in the
	// clear.
	Addr, Clear string
	// Log is the file of its access log.
	Log string

	t        testing.TB
	global   string
	upstream string // its address, the value of UPSTREAM
}

// Serve runs Caddy with the body of a site block until the test ends. UPSTREAM in
// the body is replaced by the upstream's address.
func Serve(t testing.TB, upstream http.Handler, body string) *Site {
	t.Helper()
	return ServeGlobal(t, upstream, "", body)
}

// ServeGlobal is Serve with global options.
func ServeGlobal(t testing.TB, upstream http.Handler, global, body string) *Site {
	t.Helper()
	s := newSite(t, global, upstreamAddr(t, upstream))
	s.Load(body)
	t.Cleanup(func() { stop(t) })
	return s
}

// ServeTwins runs two sites that differ in one thing: OFFLOAD in the body is
// replaced by nothing in the first and by offload in the second.
func ServeTwins(t testing.TB, upstream http.Handler, global, offload, body string) (plain, offloaded *Site) {
	t.Helper()
	sites := ServeEach(t, upstream, global, body, "", offload)
	return sites[0], sites[1]
}

// ServeEach runs one site for each replacement of OFFLOAD in the body.
func ServeEach(t testing.TB, upstream http.Handler, global, body string, offloads ...string) []*Site {
	t.Helper()
	addr := upstreamAddr(t, upstream)
	sites := make([]*Site, len(offloads))
	var text strings.Builder
	for i, offload := range offloads {
		sites[i] = newSite(t, global, addr)
		text.WriteString(sites[i].block(strings.ReplaceAll(body, "OFFLOAD", offload)))
	}
	load(t, adapt(t, sites[0].options()+text.String(), sites...))
	sites[0].settle()
	t.Cleanup(func() { stop(t) })
	return sites
}

// The ports of sites are below those that a system assigns itself.
const (
	firstPort = 10000
	lastPort  = 32000
)

func newSite(t testing.TB, global, upstream string) *Site {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	return &Site{
		Addr: FreeAddr(t), Clear: FreeAddr(t),
		Log: filepath.Join(t.TempDir(), "access.log"),
		t:   t, global: global, upstream: upstream,
	}
}

// upstreamAddr serves an upstream, if there is one, and returns its address.
func upstreamAddr(t testing.TB, upstream http.Handler) string {
	t.Helper()
	if upstream == nil {
		return ""
	}
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Load reloads Caddy with another body of the site block.
func (s *Site) Load(body string) {
	s.t.Helper()
	load(s.t, s.Config(body))
	s.replaced()
	s.settle()
}

// LoadFails loads a configuration that must fail, and returns the error. The servers that had
// started before it failed are gone then.
func (s *Site) LoadFails(config []byte) error {
	s.t.Helper()
	err := caddy.Load(config, true)
	if err == nil {
		s.t.Fatal("the configuration has loaded")
	}
	s.replaced()
	return err
}

// settle prevents false reports of the race detector. Caddy starts its servers before its
// TLS app, and the servers read the app without a lock when a client connects. A
// connection after both have started is correct. The detector sees that order over TCP,
// but not over UDP, and it remembers only the last few accesses. So settle connects over
// TCP until these accesses are the only ones that the detector remembers.
func (s *Site) settle() {
	if !testkit.Race {
		return
	}
	for range 30 {
		conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"})
		if err == nil {
			conn.Close()
		}
	}
}

// Config returns the JSON of a site with the given body.
func (s *Site) Config(body string) []byte {
	s.t.Helper()
	return adapt(s.t, s.options()+s.block(body), s)
}

// options returns the global options: those of the site, and defaults for tests.
func (s *Site) options() string {
	options := []string{"persist_config off", "auto_https disable_redirects", s.global}
	for _, option := range []struct{ word, text string }{
		{"admin", "admin off"},
		{"grace_period", "grace_period 1s"},
		{"log {", "log {\n\t\tlevel ERROR\n\t}"},
		{"servers", "servers {\n\t\tprotocols h1 h2 h2c h3\n\t}"},
	} {
		if !strings.Contains(s.global, option.word) {
			options = append(options, option.text)
		}
	}
	return "{\n\t" + strings.Join(options, "\n\t") + "\n}\n"
}

func (s *Site) block(body string) string {
	cert, key := certificate()
	return fmt.Sprintf(`https://%s {
	tls %s %s
	log {
		level INFO
		output file %s
	}
	%s
}
`, s.Addr, cert, key, s.Log, strings.ReplaceAll(body, "UPSTREAM", s.upstream))
}

func load(t testing.TB, config []byte) {
	t.Helper()
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
}

func stop(t testing.TB) {
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, func() bool { return !handling() })
}

// handling reports whether a handler of a site still runs. caddy.Stop waits for handlers only
// when the process exits. They write to the access log at their end, after the test and while
// its folders are removed.
func handling() bool {
	stacks := make([]byte, 1<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("caddyhttp.(*Server).ServeHTTP("))
}

// AccessLog waits until n requests were logged and returns their lines.
func (s *Site) AccessLog(n int) []map[string]any {
	s.t.Helper()
	var lines []map[string]any
	testkit.Eventually(s.t, func() bool {
		lines = Lines(s.Log)
		return len(lines) >= n
	})
	return lines
}

// Lines returns the complete lines of a JSON log.
func Lines(file string) []map[string]any {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // not yet
	}
	var lines []map[string]any
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil {
			lines = append(lines, fields)
		}
	}
	return lines
}

// Logged returns the lines of the access log that contain a text.
func (s *Site) Logged(text string) []string {
	s.t.Helper()
	content, err := os.ReadFile(s.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
