package caddymodule_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// hang is an upstream that answers only when its client leaves, and counts.
func hang(c *site.Counter) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		c.Enter()
		defer c.Leave()
		<-r.Context().Done()
	}
}

// If the answer of a run does not begin in time, its client is answered at once, on every
// version of HTTP, and the upstream's request is cancelled.
func TestFirstByteTimeout(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, hang(&up), `
	offload {
		name first-byte
		on_abandon cancel
		first_byte_timeout 300ms
		breaker off
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		soonest := time.Hour // of several: a machine that is busy with others may be late
		for tries := 0; tries < 20 && soonest > 400*time.Millisecond; tries++ {
			soonest = min(soonest, lateAnswer(t, c, url))
		}
		if soonest > 400*time.Millisecond {
			t.Errorf("answered after %s at best, want 300 to 400 ms", soonest)
		}
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
	})
}

// lateAnswer sends a request that takes too long, and returns the time until its answer.
func lateAnswer(t *testing.T, c *http.Client, url string) time.Duration {
	t.Helper()
	start := time.Now()
	res, body := site.Get(t, c, url)
	took := time.Since(start)
	if res.StatusCode != 504 || body != "Gateway Timeout\n" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	if got := res.Header.Get("Proxy-Status"); got != `edge;error=http_response_timeout;details="first_byte_timeout"` {
		t.Errorf("Proxy-Status %q", got)
	}
	if res.Header.Get("Retry-After") != "" {
		t.Error("a timeout says nothing about when to retry")
	}
	if took < 300*time.Millisecond {
		t.Errorf("answered after %s, want 300 ms at least", took)
	}
	return took
}

// A timeout of offload is no failure of an upstream to reverse_proxy: it neither tries
// again, which would be a second run, nor marks the upstream as unhealthy.
func TestTimeoutsDoNotBlameTheUpstream(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			hang(&up)(w, r)
		}
	}), `
	offload {
		name blames
		abandon_timeout 200ms
		first_byte_timeout 200ms
		breaker off
	}
	reverse_proxy UPSTREAM {
		fail_duration 1m
		max_fails 1
		lb_retries 3
		lb_try_duration 5s
	}`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		before := up.Total.Load()
		if res, _ := site.Get(t, c, url+"/hang"); res.StatusCode != 504 {
			t.Errorf("got %d", res.StatusCode)
		}
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
		if runs := up.Total.Load() - before; runs != 1 {
			t.Errorf("the upstream got the request %d times", runs)
		}
		if res, _ := site.Get(t, c, url+"/"); res.StatusCode != 200 {
			t.Errorf("got %d from an upstream that is not to blame", res.StatusCode)
		}
	})
}

// A run that takes too long after its answer has begun is cut short: the client
// must not take it for complete.
func TestRunTimeoutCutsTheResponse(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begin"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), `
	offload {
		name run-time
		run_timeout 200ms
		abandon_timeout 200ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := readAll(res.Body)
		if body != "begin" || err == nil {
			t.Errorf("got %q, %v: want a cut after the beginning", body, err)
		}
	})
}

// The client of a handler that ignores its cancel is answered: on HTTP/1 it has a complete
// answer while the handler still blocks. The run keeps its permit.
func TestStuckRun(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	entered := make(chan struct{}, 10)
	name := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	s := site.Serve(t, nil, `
	offload {
		name stuck
		concurrency 1
		queue 0
		first_byte_timeout 200ms
		breaker off
	}
	`+name)
	c := s.Clients()["h1"]
	// The handler blocks until the test ends, so any answer comes before that.
	if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 504 || body != "Gateway Timeout\n" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	<-entered
	if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 503 {
		t.Errorf("got %d: the stuck run must keep its permit", res.StatusCode)
	}
}

// With linger the permit of a cancelled run stays taken for a while.
func TestLinger(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, hang(&up), `
	offload {
		name linger
		on_abandon cancel
		concurrency 1
		queue 0
		linger 400ms
		first_byte_timeout 100ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	url := "https://" + s.Addr
	if res, _ := site.Get(t, c, url); res.StatusCode != 504 {
		t.Fatalf("got %d", res.StatusCode)
	}
	if res, _ := site.Get(t, c, url); res.StatusCode != 503 {
		t.Errorf("got %d, want 503 while the permit lingers", res.StatusCode)
	}
	testkit.Eventually(t, func() bool {
		res, _ := site.Get(t, c, url)
		return res.StatusCode == 504
	})
}

// A handler that aborts when it is cancelled does not take the answer with it.
func TestAbortAfterATimeout(t *testing.T) {
	name := site.HandleBehind(t, func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	s := site.Serve(t, nil, `
	offload {
		name aborts
		first_byte_timeout 100ms
	}
	`+name)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		if res, body := site.Get(t, c, url); res.StatusCode != 504 || body != "Gateway Timeout\n" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
	for _, line := range s.AccessLog(3) {
		fields, _ := line["offload"].(map[string]any)
		if line["status"] != 504.0 || fields["reason"] != "first_byte_timeout" || fields["outcome"] != "failure" {
			t.Errorf("logged %v", line)
		}
	}
}

// reverse_proxy aborts when it is cancelled within an answer: the timeout that did it
// was once not counted then.
func TestTimeoutsWithinTheAnswerAreCounted(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name counts
		run_timeout 100ms
		abandon_timeout 200ms
		first_byte_timeout off
		breaker off
	}
	reverse_proxy UPSTREAM`)
	n := 0.0
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		ask(t, c, url+"/half").want(t, 0)
		n++
		o.eventually("counts", func(p object) bool { return p["rejected_total"].(object)["run_timeout"] == n })
	})
}
