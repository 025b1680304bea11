package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A run that goes on when the time of its request is over is ended like one that reaches
// run_timeout, and the answer names the option.
func TestMaxTimeEndsARun(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, hang(&up), `
	offload {
		name max-time
		on_abandon cancel
		max_time 200ms
		breaker off
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		began := time.Now()
		res, _ := site.Get(t, c, url)
		if took := time.Since(began); res.StatusCode != 504 || took < 200*time.Millisecond {
			t.Errorf("got %d after %s", res.StatusCode, took)
		}
		if got := res.Header.Get("Proxy-Status"); got != `edge;error=http_response_timeout;details="run_timeout";budget=max_time` {
			t.Errorf("Proxy-Status %q", got)
		}
		if res.Header.Get("Retry-After") != "" || res.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("got %v", res.Header)
		}
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
	})
	line := s.AccessLog(1)[0]["offload"].(map[string]any)
	if line["budget"] != 0.2 || line["budget_by"] != "max_time" || line["reason"] != "run_timeout" {
		t.Errorf("logged %v", line)
	}
}

// The wait is a part of the time: no run starts after its end. The explanation names the
// option and the limit.
func TestMaxTimeEndsAWait(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name waits
		concurrency 1
		proxy_status_name edge
		max_time 300ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	c, url := s.Clients()["h1"], "https://"+s.Addr
	holdOne(t, s, c, "/held")
	began := time.Now()
	res, _ := site.Get(t, c, url)
	if took := time.Since(began); res.StatusCode != 503 || took > 30*time.Second {
		t.Errorf("got %d after %s", res.StatusCode, took)
	}
	if got := res.Header.Get("Proxy-Status"); got != `edge;error=connection_limit_reached;details="wait_timeout";budget=max_time` {
		t.Errorf("Proxy-Status %q", got)
	}
	if res.Header.Get("Retry-After") == "" {
		t.Error("a client that waited too long may come back")
	}
	e := o.get("explain/{id}", res.Header.Get("Offload-Request-Id"))
	budget, _ := e["budget"].(object)
	if budget["by"] != "max_time" || budget["allowed_ns"] != 3e8 || budget["left_ns"] != 0.0 {
		t.Errorf("explained with budget %v", budget)
	}
	if text := sentencesOf(e); !strings.Contains(text, "Its time is limited to 300 ms by `max_time`, and was over.") {
		t.Errorf("explained as %s", text)
	}
}

// sentencesOf returns the sentences of an explanation.
func sentencesOf(e object) string {
	var text strings.Builder
	all, _ := e["sentences"].([]any)
	for _, sentence := range all {
		text.WriteString(sentence.(string) + " ")
	}
	return text.String()
}

// The upload is a part of the time: a body that has not come by its end comes too slowly.
func TestMaxTimeEndsAnUpload(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, hang(&up), `
	offload {
		name uploads-in-time
		max_time 200ms
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, end := io.Pipe()
		defer end.Close()
		go func() { _, _ = end.Write([]byte("begin")) }()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusRequestTimeout || up.Total.Load() != 0 {
			t.Errorf("got %d, and %d runs", res.StatusCode, up.Total.Load())
		}
	})
}

// The list of requests shows how much of its time each one has left.
func TestBudgetsAreListed(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name lists
		max_time 10m
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h1"], "/listed")
	budget, _ := o.requests("running", "lists")[0]["budget"].(object)
	if left, _ := budget["left_ns"].(float64); budget["by"] != "max_time" || budget["allowed_ns"] != 6e11 || left <= 0 || left >= 6e11 {
		t.Errorf("listed with %v", budget)
	}
}
