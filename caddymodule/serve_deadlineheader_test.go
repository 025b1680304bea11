package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// showDeadline is an upstream that answers with the field X-Deadline-Ms of its request.
func showDeadline(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%q", r.Header["X-Deadline-Ms"])
}

// deadlineShown returns the only value in an answer of showDeadline.
func deadlineShown(t *testing.T, body string) int {
	t.Helper()
	var text string
	if _, err := fmt.Sscanf(body, "[%q]", &text); err != nil {
		t.Fatalf("got %s: %v", body, err)
	}
	ms, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// A backend gets the rest of the time, whatever its client has written in that field. Without
// a limit it gets none.
func TestBackendsGetTheRestOfTheTime(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(showDeadline), `
	offload /whole* {
		name whole
		max_time 10s
		run_timeout 30s
		first_byte_timeout off
		deadline_header X-Deadline-Ms
	}
	offload /run {
		name run
		run_timeout 20s
		first_byte_timeout off
		deadline_header x-deadline-ms
	}
	offload /client {
		name client
		deadline {http.request.header.Request-Timeout}
		deadline_header X-Deadline-Ms
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for path, most := range map[string]int{"/whole": 10_000, "/run": 20_000, "/client": 5000} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["X-Deadline-Ms"] = []string{"1000000", "2"}
			req.Header.Set("Request-Timeout", "5")
			if _, body := site.Do(t, c, req); deadlineShown(t, body) > most || deadlineShown(t, body) < 1 {
				t.Errorf("%s: the backend got %s", path, body)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/client", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Deadline-Ms", "1000000")
		if _, body := site.Do(t, c, req); body != "[]" {
			t.Errorf("without a limit the backend got %s", body)
		}
	})
}

// In nested pools the backend gets the rest of the shortest time.
func TestBackendsOfNestedPoolsGetTheShortestTime(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(showDeadline), `
	route {
		offload {
			name outer
			max_time 20s
			deadline_header X-Deadline-Ms
		}
		offload {
			name inner
			max_time 10s
		}
		reverse_proxy UPSTREAM
	}`)
	if _, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); deadlineShown(t, body) > 10_000 {
		t.Errorf("the backend got %s", body)
	}
}

// The rest of the time is computed again when a request is sent again.
func TestResendsHaveTheRestOfTheTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	rests := make(chan string, 2)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go dieOnce(conn, rests)
		}
	}()
	s := site.Serve(t, nil, `
	offload {
		name resent
		max_time 10m
		deadline_header X-Deadline-Ms
	}
	reverse_proxy `+listener.Addr().String())
	c, url := s.Clients()["h1"], "https://"+s.Addr
	site.Get(t, c, url+"/warm")
	if res, _ := site.Get(t, c, url); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
	first, err := strconv.Atoi(<-rests)
	if err != nil {
		t.Fatal(err)
	}
	second, err := strconv.Atoi(<-rests)
	if err != nil || second > first-50 {
		t.Errorf("%d ms, then %d ms, %v", first, second, err)
	}
}

// dieOnce serves one connection. It shows the rest of the time of each request but /warm. If
// the connection has served another request before, it ends after a while without an answer.
func dieOnce(conn net.Conn, rests chan<- string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for n := 0; ; n++ {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.URL.Path != "/warm" {
			rests <- req.Header.Get("X-Deadline-Ms")
			if n > 0 {
				testkit.Pause(60 * time.Millisecond)
				return
			}
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}
