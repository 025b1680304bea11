package caddymodule_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// elsewhere is the upstream of a fallback: it answers with the status and the fields that
// the query names.
func elsewhere(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	for name, values := range r.URL.Query() {
		switch name {
		case "status":
			status = map[string]int{"200": 200, "302": 302, "404": 404, "503": 503}[values[0]]
		case "early":
			w.WriteHeader(http.StatusEarlyHints)
		default:
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	io.WriteString(w, "elsewhere")
}

// An answer that routes have found elsewhere, and that is no error, does not ask the client
// to come back, in whatever way they write it. One that is an error does, unless it says
// something else itself.
func TestFallbacksThatAnswerWell(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file.txt")
	if err := os.WriteFile(file, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	writes := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/write":
			io.WriteString(w, "written")
		case "/copy":
			w.(io.ReaderFrom).ReadFrom(strings.NewReader("copied"))
		case "/flush":
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			io.WriteString(w, "flushed")
		case "/twice":
			w.WriteHeader(http.StatusServiceUnavailable)
			w.WriteHeader(http.StatusOK)
		}
		return nil
	})
	const asRejected, asServed = `edge;error=connection_limit_reached;details="queue_full"`, `edge;details="queue_full"`
	tests := map[string]struct {
		routes string
		path   string
		fields client
		status int
		body   string
		// What is left of the fields of the rejection.
		rejected bool   // all is
		after    string // Retry-After of the routes
	}{
		"respond":                        {routes: `respond "busy" 200`, status: 200, body: "busy"},
		"a redirect":                     {routes: `redir https://example.com/elsewhere`, status: 302},
		"nothing written":                {routes: writes, status: 200},
		"an implicit head":               {routes: writes, path: "/write", status: 200, body: "written"},
		"a copy":                         {routes: writes, path: "/copy", status: 200, body: "copied"},
		"a flush":                        {routes: writes, path: "/flush", status: 200, body: "flushed"},
		"encoded":                        {routes: "encode gzip\n respond \"" + strings.Repeat("busy ", 200) + "\" 200", status: 200, body: strings.Repeat("busy ", 200)},
		"a file":                         {routes: "root FOLDER\n rewrite /file.txt\n file_server", status: 200, body: "a file"},
		"a file that the client has":     {routes: "root FOLDER\n rewrite /file.txt\n file_server", fields: client{"If-Modified-Since": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, status: 304},
		"a part of a file":               {routes: "root FOLDER\n rewrite /file.txt\n file_server", fields: client{"Range": "bytes=2-3"}, status: 206, body: "fi"},
		"a proxy":                        {routes: "reverse_proxy ELSEWHERE", status: 200, body: "elsewhere"},
		"a proxy's redirect":             {routes: "reverse_proxy ELSEWHERE", path: "?status=302", status: 302, body: "elsewhere"},
		"a proxy after early hints":      {routes: "reverse_proxy ELSEWHERE", path: "?early=1", status: 200, body: "elsewhere"},
		"a proxy with a time of its own": {routes: "reverse_proxy ELSEWHERE", path: "?Retry-After=77", status: 200, body: "elsewhere", after: "77"},
		"a time of the site":             {routes: "header Retry-After 77\n respond busy 200", status: 200, body: "busy", after: "77"},

		"an error":                    {routes: `respond "busy" 503`, status: 503, body: "busy", rejected: true},
		"a later head":                {routes: writes, path: "/twice", status: 503, rejected: true},
		"a proxy's error":             {routes: "reverse_proxy ELSEWHERE", path: "?status=404", status: 404, body: "elsewhere", rejected: true},
		"a proxy's error with a time": {routes: "reverse_proxy ELSEWHERE", path: "?status=503&Retry-After=77", status: 503, body: "elsewhere", rejected: true, after: "77"},
		"routes that do not answer":   {routes: "header X-Tried yes", status: 503, body: "Service Unavailable\n", rejected: true},
		"routes for an EventSource":   {routes: "header X-Tried yes", fields: eventSource, status: 200, body: "retry: ", rejected: true},
	}
	other := newUpstream(t, http.HandlerFunc(elsewhere))
	for name, tt := range tests {
		for where, routes := range map[string]string{
			"handle_reject": "offload {\n name full\n concurrency 1\n queue 0\n proxy_status_name edge\n handle_reject {\n ROUTES\n }\n }\n reverse_proxy UPSTREAM",
			"handle_errors": "offload {\n name full\n concurrency 1\n queue 0\n proxy_status_name edge\n }\n reverse_proxy UPSTREAM\n handle_errors {\n ROUTES\n }",
		} {
			if where == "handle_errors" && (strings.HasPrefix(name, "routes") || strings.Contains(tt.routes, "file_server")) {
				continue // no answer there is that of Caddy, and files have the status of the error
			}
			t.Run(where+" "+name, func(t *testing.T) {
				text := strings.NewReplacer("ELSEWHERE", other, "FOLDER", folder).Replace(strings.Replace(routes, "ROUTES", tt.routes, 1))
				s := site.Serve(t, http.HandlerFunc(blocking), text)
				holdOne(t, s, s.Clients()["h2"], "/hold-"+strings.ReplaceAll(t.Name(), " ", "-"))
				s.EachVersion(func(t *testing.T, c *http.Client, url string) {
					c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
					res, body := tt.fields.asks(t, c, "GET", url+"/"+strings.TrimPrefix(tt.path, "/"))
					if res.StatusCode != tt.status || !strings.HasPrefix(body, tt.body) || (tt.body == "") != (body == "") {
						t.Errorf("got %d %q, want %d %q", res.StatusCode, body, tt.status, tt.body)
					}
					after := res.Header.Values("Retry-After")
					switch {
					case tt.after != "" && strings.Join(after, "|") != tt.after,
						tt.after == "" && len(after) > 0 != tt.rejected:
						t.Errorf("Retry-After %q", after)
					}
					want := asServed
					if tt.rejected {
						want = asRejected
					}
					if got := strings.Join(res.Header.Values("Proxy-Status"), "|"); got != want {
						t.Errorf("Proxy-Status %q, want %q", got, want)
					}
				})
			})
		}
	}
}

// newUpstream serves h until the test ends, and returns its address.
func newUpstream(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// The same holds for answers of error routes to timeouts, and after routes for rejections
// that have failed themselves.
func TestErrorRoutesThatAnswerWell(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name errors
		first_byte_timeout 100ms
		abandon_timeout 100ms
		proxy_status_name edge
		breaker off
		handle_reject {
			error 500
		}
	}
	reverse_proxy UPSTREAM
	handle_errors {
		@well path /well /hang
		respond @well "{err.status_code}" 200
		respond "{err.status_code}"
	}`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url+"/hang")
		if h := res.Header; res.StatusCode != 200 || body != "504" || h.Get("X-Should-Retry") != "" || h.Get("Proxy-Status") != `edge;details="first_byte_timeout"` {
			t.Errorf("got %d %q %v", res.StatusCode, body, h)
		}
		o.post("pools/{name}/drain", "errors", `{"wait": "1s"}`)
		res, body = site.Get(t, c, url+"/well")
		if h := res.Header; res.StatusCode != 200 || body != "500" || h.Get("Retry-After") != "" || h.Get("Proxy-Status") != `edge;details="draining"` {
			t.Errorf("got %d %q %v", res.StatusCode, body, h)
		}
		res, body = site.Get(t, c, url+"/ill")
		if h := res.Header; res.StatusCode != 500 || body != "500" || h.Get("Retry-After") == "" || h.Get("Proxy-Status") != `edge;error=destination_unavailable;details="draining"` {
			t.Errorf("got %d %q %v", res.StatusCode, body, h)
		}
		o.post("pools/{name}/resume", "errors", "")
	})
}

// A rejected request may be upgraded elsewhere: a 101 is a good answer.
func TestFallbacksThatUpgrade(t *testing.T) {
	other := newUpstream(t, http.HandlerFunc(upstreamOf))
	s, o := serveOperated(t, nil, `
	offload {
		name upgrades
		handle_reject {
			reverse_proxy `+other+`
		}
	}
	respond ok`)
	o.post("pools/{name}/drain", "upgrades", `{"wait": "1s"}`)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Clear+"/tunnel", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Retry-After") != "" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}
