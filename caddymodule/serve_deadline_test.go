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

// askWithin sends a request with these fields, each of the form "name: value".
func askWithin(t *testing.T, c *http.Client, url string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Add(name, value)
	}
	res, _ := site.Do(t, c, req)
	return res
}

// The shortest of the times of the client and of the route ends a run, in each form and field
// that clients use. A time that cannot be read does not count, and no client has more time
// than the route allows.
func TestDeadlinesOfClients(t *testing.T) {
	s := site.Serve(t, hang(new(site.Counter)), `
	offload {
		name deadlines
		on_abandon cancel
		concurrency off
		deadline {http.request.header.Request-Timeout}
		max_time 300ms
		breaker off
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	const clients, routes = 100 * time.Millisecond, 300 * time.Millisecond
	for fields, want := range map[string]time.Duration{
		"Request-Timeout: 0.1": clients, "Request-Timeout: 100ms": clients, "Request-Timeout: 100000u": clients,
		"Grpc-Timeout: 100m": clients, "Request-Timeout: 10m\nGrpc-Timeout: 100m": clients,
		"Request-Timeout: 100ms\nPrefer: wait=600": clients,
		"Request-Timeout: 10m":                     routes, "Request-Timeout: soon": routes, "Request-Timeout: -1": routes,
		"Other: 0.1": routes, "Prefer: wait=600": routes, "Prefer: respond-async, wait=0": routes,
	} {
		t.Run(strings.ReplaceAll(fields, "\n", ", "), func(t *testing.T) {
			began := time.Now()
			res := askWithin(t, s.Clients()["h1"], "https://"+s.Addr, strings.Split(fields, "\n")...)
			took := time.Since(began)
			by := "deadline"
			if want == routes {
				by = "max_time"
			}
			if res.StatusCode != 504 || res.Header.Get("X-Should-Retry") != "false" || took < want {
				t.Errorf("got %d %v after %s", res.StatusCode, res.Header, took)
			}
			if got := res.Header.Get("Proxy-Status"); got != `edge;error=http_response_timeout;details="run_timeout";budget=`+by {
				t.Errorf("Proxy-Status %q", got)
			}
		})
	}
}

// Without the option clients set no limit.
func TestDeadlinesWithoutTheOption(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	offload {
		name no-deadlines
	}
	reverse_proxy UPSTREAM`)
	res := askWithin(t, s.Clients()["h1"], "https://"+s.Addr, "Prefer: wait=0", "Request-Timeout: 0", "Grpc-Timeout: 0n")
	if res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// A time that is over on arrival is too late: the body is not read, and nothing runs.
func TestDeadlinesThatAreOver(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, hang(&up), `
	offload {
		name over
		deadline {http.request.header.X-Deadline-Ms}ms
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, field := range []string{"X-Deadline-Ms: 0", "Prefer: wait=0"} {
			if res := askWithin(t, c, url, field); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: got %d %v", field, res.StatusCode, res.Header)
			}
		}
	})
	if n := up.Total.Load(); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// A client that allows too little time cannot open the breaker: neither when offload ends its
// run, nor when the backend ends it by the same time.
func TestBreakerIgnoresImpatientClients(t *testing.T) {
	for deadline, want := range map[string]int{"0.05": 200, "60": 503} {
		t.Run(deadline, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/hang":
					<-r.Context().Done()
				case "/fail":
					testkit.Pause(60 * time.Millisecond)
					w.WriteHeader(http.StatusGatewayTimeout)
				}
			}), `
	offload {
		name impatient-clients
		on_abandon cancel
		deadline {http.request.header.Request-Timeout}
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
			c, url := s.Clients()["h1"], "https://"+s.Addr
			if want == 200 {
				if res := askWithin(t, c, url+"/hang", "Request-Timeout: "+deadline); res.StatusCode != 504 {
					t.Errorf("got %d", res.StatusCode)
				}
			}
			askWithin(t, c, url+"/fail", "Request-Timeout: "+deadline)
			if res := askWithin(t, c, url+"/"); res.StatusCode != want {
				t.Errorf("got %d, want %d", res.StatusCode, want)
			}
		})
	}
}

// A request that would have to wait for too long is rejected on arrival, before its body has
// come. Its client may come back, and the explanation has the numbers.
func TestDeadlinesThatCannotBeMet(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/run" {
			testkit.Pause(100 * time.Millisecond)
		}
		blocking(w, r)
	}), `
	offload {
		name cannot-be-met
		concurrency 1
		deadline {http.request.header.Request-Timeout}
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	c, url := s.Clients()["h1"], "https://"+s.Addr
	for range 3 { // so that the pool knows its runs
		site.Get(t, c, url+"/run")
	}
	holdOne(t, s, c, "/held-for-long")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, end := io.Pipe() // nothing comes
		defer end.Close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/run", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Request-Timeout", "150ms")
		res, _ := site.Do(t, c, req)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("got %d %v", res.StatusCode, res.Header)
		}
		if got := res.Header.Get("Proxy-Status"); got != `edge;error=connection_limit_reached;details="predicted_late";budget=deadline` {
			t.Errorf("Proxy-Status %q", got)
		}
		text := sentencesOf(o.get("explain/{id}", res.Header.Get("Offload-Request-Id")))
		for _, want := range []string{"It was rejected (predicted_late) on arrival.", "Its time is limited to 150 ms by `deadline`", "it was to wait for 1"} {
			if !strings.Contains(text, want) {
				t.Errorf("explained as %s, want %s", text, want)
			}
		}
	})
}

// A call of gRPC that its own time ends has the code for that, and its library does not send
// it again.
func TestDeadlinesOfCalls(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}), `
	offload {
		name calls-in-time
		deadline {http.request.header.Request-Timeout}
	}
	reverse_proxy UPSTREAM`)
	for _, version := range []string{"h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			res, _ := call(t, s.Clients()[version], "https://"+s.Addr, "100m")
			if res.Header.Get("Grpc-Status") != "4" || res.Header.Get("Grpc-Retry-Pushback-Ms") != "-1" {
				t.Errorf("got %v", res.Header)
			}
		})
	}
}
