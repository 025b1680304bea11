package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// slowUpload is a request whose body is on its way.
type slowUpload struct {
	*asked
	body *io.PipeWriter
}

// beginUpload sends the first half of a body.
func beginUpload(t *testing.T, c *http.Client, url string) *slowUpload {
	t.Helper()
	body, writer := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	up := &slowUpload{askFor(c, req), writer}
	if _, err := io.WriteString(writer, "one,"); err != nil {
		t.Fatal(err)
	}
	return up
}

// end sends the other half.
func (up *slowUpload) end() {
	io.WriteString(up.body, "two")
	up.body.Close()
}

func (up *slowUpload) wantEcho(t *testing.T) {
	t.Helper()
	up.want(t, 200)
	if up.asked.body != "one,two" {
		t.Errorf("got %q, want the whole upload", up.asked.body)
	}
}

func echoBody(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(w, r.Body)
}

func (o *operator) untilUploading(pool string, n int) {
	o.t.Helper()
	o.eventually(pool, func(p object) bool { return p["uploading"] == float64(n) })
}

// loadFor loads a configuration and connects the client to it: for a moment the
// servers of the one before may still accept connections.
func loadFor(t *testing.T, s *site.Site, c *http.Client, url, body string) {
	t.Helper()
	mark := fmt.Sprint(loads.Add(1))
	s.Load("header X-Load " + mark + "\n" + body)
	testkit.Eventually(t, func() bool {
		c.CloseIdleConnections()
		res, err := c.Get(url)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.Header.Get("X-Load") == mark
	})
}

var loads atomic.Int64

// An upload that has begun is served after any reload of its route.
func TestUploadsSurviveReloads(t *testing.T) {
	const first = "offload /up* {\n name first\n }\n reverse_proxy UPSTREAM"
	for name, second := range map[string]string{
		"the same":                  first,
		"other limits":              "offload /up* {\n name first\n concurrency 1\n queue 0\n }\n reverse_proxy UPSTREAM",
		"another matcher":           "offload /u* {\n name first\n }\n reverse_proxy UPSTREAM",
		"another name":              "offload /up* {\n name second\n }\n reverse_proxy UPSTREAM",
		"no pool any more":          "reverse_proxy UPSTREAM",
		"the route is gone":         "respond \"other\" 404",
		"a pool of the app instead": "offload /up* shared\n reverse_proxy UPSTREAM",
	} {
		t.Run(name, func(t *testing.T) {
			s, o := serveOperatedWith(t, http.HandlerFunc(echoBody), "offload {\n pool shared\n }\n"+longGrace, first)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				loadFor(t, s, c, url, first)
				up := beginUpload(t, c, url+"/up")
				o.untilUploading("first", 1)
				s.Load(second)
				up.end()
				up.wantEcho(t)
			})
			testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
		})
	}
}

// A drain waits for uploads in progress, shows that they remain, and rejects new ones
// before their bodies are read.
func TestDrainWaitsForUploads(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(echoBody), "offload {\n name drains\n }\n reverse_proxy UPSTREAM")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		up := beginUpload(t, c, url)
		o.untilUploading("drains", 1)
		if p := o.do(http.MethodPost, "pools/{name}/drain", "drains", `{"wait": "10ms"}`, 202); p["uploading"] != 1.0 || p["running"] != 0.0 {
			t.Errorf("the pool is %v", p)
		}
		req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader("another"))
		if res, _ := site.Do(t, c, req); res.StatusCode != 503 {
			t.Errorf("another upload got %d", res.StatusCode)
		}
		drained := make(chan object)
		go func() { drained <- o.post("pools/{name}/drain", "drains", `{"wait": "10s"}`) }()
		up.end()
		up.wantEcho(t)
		if p := <-drained; p["uploading"] != 0.0 || p["running"] != 0.0 || p["admitted_total"] == 0.0 {
			t.Errorf("drained with %v", p)
		}
		o.post("pools/{name}/resume", "drains", "")
	})
}

// An upload that ends in any other way has left the pool: a drain does not wait for it.
func TestUploadsThatFailLeaveThePool(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(echoBody), `
	offload {
		name fails
		request_spool 8 0
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for name, end := range map[string]func(up *slowUpload){
			"its client leaves": func(up *slowUpload) { up.body.CloseWithError(io.ErrClosedPipe) },
			"it is too large":   func(up *slowUpload) { io.WriteString(up.body, "much more than that"); up.body.Close() },
			"an operator ends it": func(*slowUpload) {
				o.post("requests/{id}/cancel", o.only("fails", "uploading"), "")
			},
		} {
			up := beginUpload(t, c, url)
			o.untilUploading("fails", 1)
			go end(up)
			o.untilUploading("fails", 0)
			if p := o.do(http.MethodPost, "pools/{name}/drain", "fails", "", 200); p["uploading"] != 0.0 {
				t.Errorf("%s: the pool is %v", name, p)
			}
			o.post("pools/{name}/resume", "fails", "")
			up.body.Close()
			<-up.done
		}
	})
}

// Requests that one pool has admitted pass the next one, even if a reload has removed
// both.
func TestNestedPoolsSurviveReloads(t *testing.T) {
	nested := "route {\n offload {\n name outer%d\n }\n offload {\n name inner%[1]d\n }\n reverse_proxy UPSTREAM\n }"
	s, o := serveOperatedWith(t, http.HandlerFunc(echoBody), longGrace, fmt.Sprintf(nested, 0))
	n := 0
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		loadFor(t, s, c, url, fmt.Sprintf(nested, n))
		up := beginUpload(t, c, url)
		o.untilUploading(fmt.Sprintf("outer%d", n), 1)
		n++
		s.Load(fmt.Sprintf(nested, n))
		up.end()
		up.wantEcho(t)
	})
	testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
}

// A request that is in a handler before "offload" while a reload removes the pool is
// served, although nothing was in the pool.
func TestRequestsOnTheirWaySurviveReloads(t *testing.T) {
	s, o := serveOperatedWith(t, http.HandlerFunc(blocking), longGrace, `
	route {
		forward_auth UPSTREAM {
			uri /hold
		}
		offload {
			name behind
		}
		reverse_proxy UPSTREAM
	}`)
	allow := make(chan struct{})
	blockUntil["/hold"] = allow
	var all []*asked
	for _, c := range s.Clients() {
		all = append(all, ask(t, c, "https://"+s.Addr))
	}
	testkit.Eventually(t, func() bool { return blocked.Now.Load() == 3 })
	if p := o.get("pools/{name}", "behind"); p["running"] != 0.0 {
		t.Errorf("the pool is %v", p)
	}
	s.Load("respond other")
	close(allow)
	for _, a := range all {
		a.want(t, 200)
	}
	testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
}
