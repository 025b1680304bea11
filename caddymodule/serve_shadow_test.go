package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// With mode shadow a full pool lets requests through at once. It counts and logs what it would
// have rejected, and the clients see nothing of it, on each version of HTTP.
func TestShadowLetsRequestsThrough(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name shadowed
		mode shadow
		concurrency 1
		queue 0
		proxy_status_name edge
		server_timing
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h1"], "/shadowed")
	n := 0.0
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Get(t, c, url)
		if res.StatusCode != 200 || body != "ok" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
		for _, field := range []string{"Retry-After", "Retry-After-Ms", "Proxy-Status", "Server-Timing", "Offload-Request-Id"} {
			if value := res.Header.Get(field); value != "" {
				t.Errorf("%s: %s", field, value)
			}
		}
		n++
		pool := o.get("pools/{name}", "shadowed")
		rejected, shadow := pool["rejected_total"].(object), pool["shadow_rejected_total"].(object)
		if len(rejected) != 0 || shadow["queue_full"] != n || pool["mode"] != "shadow" || pool["running"] != 1.0 {
			t.Errorf("the pool is %v", pool)
		}
	})
	if out := o.offload("pools"); !strings.Contains(strings.ReplaceAll(out, "shadowed", ""), "shadow") {
		t.Errorf("the command shows %s", out)
	}
	line := s.AccessLog(1)[0]["offload"].(map[string]any)
	if line["mode"] != "shadow" || line["reason"] != "queue_full" || line["pool"] != "shadowed" {
		t.Errorf("logged %v", line)
	}
	_, text := o.raw(http.MethodGet, "/metrics", "")
	for _, want := range []string{
		`caddy_offload_shadow_rejections_total{pool="shadowed",reason="queue_full"} 3`,
		`caddy_offload_rejections_total{pool="shadowed",reason="queue_full"} 0`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// A reload from shadow to enforce rejects from then on, with the state of the pool.
func TestShadowEndsWithAReload(t *testing.T) {
	const body = `
	offload {
		name to-enforce
		MODE
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`
	s, o := serveOperated(t, http.HandlerFunc(blocking), strings.Replace(body, "MODE", "mode shadow", 1))
	c, url := s.Clients()["h1"], "https://"+s.Addr
	holdOne(t, s, c, "/to-enforce")
	if res, _ := site.Get(t, c, url); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
	s.Load(strings.Replace(body, "MODE", "mode enforce", 1))
	testkit.Eventually(t, func() bool { return o.get("pools/{name}", "to-enforce")["mode"] == "enforce" })
	if res, _ := site.Get(t, c, url); res.StatusCode != 503 {
		t.Errorf("got %d", res.StatusCode)
	}
	pool := o.get("pools/{name}", "to-enforce")
	if pool["rejected_total"].(object)["queue_full"] != 1.0 || pool["shadow_rejected_total"].(object)["queue_full"] != 1.0 {
		t.Errorf("the pool is %v", pool)
	}
}

// A file that the backend sends, an upgrade and a stream pass as they do without offload: the
// writer in between adds nothing.
func TestShadowPassesFlushes(t *testing.T) {
	rest := make(chan struct{})
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("begin"))
		_ = http.NewResponseController(w).Flush()
		<-rest
	}), `
	offload {
		name flushes
		mode shadow
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		begin := make([]byte, 5)
		if n, err := res.Body.Read(begin); string(begin[:n]) != "begin" {
			t.Errorf("got %q, %v", begin[:n], err)
		}
		rest <- struct{}{}
	})
}

// The pool counts the keys of requests with mode shadow, too.
func TestShadowCountsKeys(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name shadowed
		mode shadow
		concurrency 2
		fair_by {http.request.header.X-Key}
		queue_per_key 1
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	var all []*asked
	ask := func(key string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Key", key)
		all = append(all, askFor(c, req))
	}
	expect := func(name string, want float64) {
		t.Helper()
		o.eventually("shadowed", func(p object) bool { return p[name] == want })
	}
	ask("greedy")
	expect("running", 1)
	ask("greedy")
	expect("running", 2)
	ask("greedy")
	expect("waiting", 1)
	ask("greedy")
	o.eventually("shadowed", func(p object) bool { return p["shadow_rejected_total"].(object)["key_queue_full"] == 1.0 })
	ask("modest")
	expect("waiting", 2)
	up.end(t, len(all))
	for _, a := range all {
		a.want(t, 200)
	}
}
