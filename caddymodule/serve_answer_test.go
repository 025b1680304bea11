package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func readAll(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	return string(b), err
}

// holdOne occupies the only permit of a pool until the test ends.
func holdOne(t *testing.T, s *site.Site, c *http.Client, path string) {
	t.Helper()
	busy := make(chan struct{})
	bare, _, _ := strings.Cut(path, "?")
	blockUntil[bare] = busy
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, err := c.Get("https://" + s.Addr + path)
		if err != nil {
			t.Error(err)
			return
		}
		res.Body.Close()
	}()
	testkit.Eventually(t, func() bool { return blocked.Now.Load() > 0 })
	t.Cleanup(func() {
		close(busy)
		<-done
	})
}

var (
	blockUntil = map[string]chan struct{}{}
	blocked    site.Counter
)

// blocking is an upstream that blocks on the paths of holdOne.
func blocking(w http.ResponseWriter, r *http.Request) {
	if c := blockUntil[r.URL.Path]; c != nil {
		blocked.Enter()
		defer blocked.Leave()
		<-c
	}
	io.WriteString(w, "ok")
}

// A full pool answers by handle_reject, by the error routes, plainly, and in gRPC, with
// the configured status.
func TestAnswersOfAFullPool(t *testing.T) {
	const pool = `
	offload %s {
		name full
		concurrency 1
		queue 0
		proxy_status_name "my edge"
		%s
	}
	reverse_proxy UPSTREAM`
	tests := map[string]struct {
		words, extra string
		status       int
		body         string
	}{
		"plainly":                   {status: 503, body: "Service Unavailable\n"},
		"with its status":           {words: "reject_status 429", status: 429, body: "Too Many Requests\n"},
		"by reject routes":          {words: "handle_reject {\n respond \"busy {http.offload.reject_reason} {http.offload.pool}\" 509\n }", status: 509, body: "busy queue_full full"},
		"with a status of timeouts": {words: "reject_status 504\n handle_reject {\n respond \"busy\" 504\n }", status: 504, body: "busy"},
		"past empty routes":         {words: "handle_reject {\n header X-Tried yes\n }", status: 503, body: "Service Unavailable\n"},
		"by error routes":           {extra: "handle_errors {\n respond \"error {err.status_code}\"\n }", status: 503, body: "error 503"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(blocking), fmt.Sprintf(pool, "", tt.words)+"\n"+tt.extra)
			c := s.Clients()["h2"]
			holdOne(t, s, c, "/hold")
			res, body := site.Get(t, c, "https://"+s.Addr+"/next")
			if res.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, body, tt.status, tt.body)
			}
			if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
				t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
			}
			if got := res.Header.Get("Proxy-Status"); got != `"my edge";error=connection_limit_reached;details="queue_full"` {
				t.Errorf("Proxy-Status %q", got)
			}
			fields, _ := s.AccessLog(1)[0]["offload"].(map[string]any)
			if fields["reason"] != "queue_full" || fields["outcome"] != "rejected" || fields["pool"] != "full" {
				t.Errorf("logged %v", fields)
			}
		})
	}
}

func TestGRPCIsRejectedInGRPC(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	offload {
		name grpc
		concurrency 1
		queue 0
		handle_reject {
			respond "for people" 500
		}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/hold")
	req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr+"/svc/Method", strings.NewReader("\x00\x00\x00\x00\x00"))
	req.Header.Set("Content-Type", "application/grpc")
	res, _ := site.Do(t, c, req)
	if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "14" || res.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("Retry-After") == "" || res.Header.Get("Proxy-Status") != "" {
		t.Errorf("got %v", res.Header)
	}
}

// A tripped breaker rejects, with the rest of its cool-down in Retry-After.
func TestBreakerOpens(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		up.Enter()
		defer up.Leave()
		w.WriteHeader(500)
	}), `
	offload {
		name trips
		breaker {
			consecutive_failures 3
			cool_down 40s
		}
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	for range 3 {
		if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 500 {
			t.Fatalf("got %d", res.StatusCode)
		}
	}
	res, _ := site.Get(t, c, "https://"+s.Addr)
	after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	if res.StatusCode != 503 || after < 35 || after > 42 {
		t.Errorf("got %d, Retry-After %d", res.StatusCode, after)
	}
	if got := res.Header.Get("Proxy-Status"); got != `edge;error=destination_unavailable;details="breaker_open"` {
		t.Errorf("Proxy-Status %q", got)
	}
	if up.Total.Load() != 3 {
		t.Errorf("the upstream saw %d requests", up.Total.Load())
	}
}

// Client faults do not trip the breaker, and neither do 501 and 505.
func TestBreakerIgnoresClientFaults(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.WriteHeader(status)
	}), `
	offload {
		name patient
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	for _, status := range []int{400, 404, 429, 499, 501, 505, 200} {
		if res, _ := site.Get(t, c, fmt.Sprintf("https://%s/%d", s.Addr, status)); res.StatusCode != status {
			t.Errorf("got %d, want %d", res.StatusCode, status)
		}
	}
}

// Routes for rejected requests get the body that was taken in before, so that
// they can send it elsewhere.
func TestRejectRoutesHaveTheBody(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	offload {
		name fallback
		concurrency 1
		queue 1
		max_wait 50ms
		handle_reject {
			respond "instead of the pool: {http.request.body}"
		}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/hold")
	req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr, strings.NewReader("the body"))
	if res, body := site.Do(t, c, req); res.StatusCode != 200 || body != "instead of the pool: the body" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

// A client that is rejected while it sends gets the response first and a reset only some
// time later. After an immediate reset it would not see the response.
func TestRefusedUploadsGetTheirAnswer(t *testing.T) {
	const pool = `
	offload {
		name %s
		concurrency 1
		queue 0
		request_spool %s
	}`
	tests := map[string]struct {
		route  string
		full   bool
		status int
	}{
		"the pool is full":                         {fmt.Sprintf(pool, "full", "64KiB"), true, 503},
		"the pool is full, one around it is not":   {fmt.Sprintf(pool, "around", "off") + fmt.Sprintf(pool, "within", "64KiB"), true, 503},
		"it is too large, which takes time to see": {fmt.Sprintf(pool, "small", "64KiB"), false, 413},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(blocking), "\n\troute {"+tt.route+"\n\treverse_proxy UPSTREAM\n\t}")
			if tt.full {
				holdOne(t, s, s.Clients()["h2"], "/hold-"+strconv.Itoa(len(tt.route)))
			}
			conn, err := net.Dial("tcp", s.Clear)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
			chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
			reset := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					_, err = io.WriteString(conn, chunk)
				}
				reset <- err
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := readAll(res.Body); res.StatusCode != tt.status || !res.Close || body != http.StatusText(tt.status)+"\n" || err != nil {
				t.Errorf("got %d %q, %v, closes: %v", res.StatusCode, body, err, res.Close)
			}
			select {
			case err := <-reset:
				t.Error(err)
			case <-time.After(50 * time.Millisecond):
			}
		})
	}
}

// A gRPC call that fails because its client has set a short deadline does not count for
// the breaker. The backend ends such calls itself.
func TestBreakerIgnoresImpatientCalls(t *testing.T) {
	for limit, status := range map[string]string{"1m": "", "10S": "14", "": "14"} {
		t.Run("grpc-timeout "+limit, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				testkit.Pause(5 * time.Millisecond)
				panic(http.ErrAbortHandler)
			}), `
	offload {
		name impatient
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
			c := s.Clients()["h2"]
			for _, want := range []string{"", status} {
				req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr, strings.NewReader("call"))
				req.Header.Set("Content-Type", "application/grpc")
				req.Header.Set("Grpc-Timeout", limit)
				if res, _ := site.Do(t, c, req); res.Header.Get("Grpc-Status") != want {
					t.Errorf("got %d %v, want the status %q", res.StatusCode, res.Header, want)
				}
			}
		})
	}
}
