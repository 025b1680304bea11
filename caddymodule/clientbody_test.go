package caddymodule_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// feed writes a body of chunks, one after each pause, until the request is over.
func feed(w *io.PipeWriter, chunk string, pause time.Duration) {
	for {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
		testkit.Pause(pause)
	}
}

// A body that is still on its way when the timeout passes is the client's fault, also in
// the moments in which its bytes are just handed on.
func TestBodyOnItsWayIsTheClientsFault(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}), `
	offload /upload {
		name onitsway
		concurrency 4
		request_spool off
		first_byte_timeout 1s
		breaker {
			consecutive_failures 1
			cool_down 1h
		}
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		results := make(chan int)
		for i := range 4 {
			body, writer := io.Pipe()
			if i%2 == 0 {
				go feed(writer, "x", time.Millisecond)
			} else {
				go feed(writer, strings.Repeat("x", 1<<20), time.Millisecond)
			}
			go func() {
				defer body.Close()
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/upload", body)
				res, err := c.Do(req)
				if err != nil {
					results <- 0 // a client that is still sending may lose the answer
					return
				}
				res.Body.Close()
				results <- res.StatusCode
			}()
		}
		for range 4 {
			if status := <-results; status != http.StatusGatewayTimeout && status != 0 {
				t.Errorf("got %d, want 504", status)
			}
		}
	})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr+"/upload", strings.NewReader("all of it"))
	res, err := s.Clients()["h1"].Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v after uploads that took too long: the breaker took them for the backend's failures", res, err)
	}
	res.Body.Close()
}

// After a body that a timeout has cut short the server reads no further request: the rest
// of the body must not be parsed as one.
func TestConnectionEndsWithABodyThatIsCutShort(t *testing.T) {
	s := site.ServeGlobal(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}), `
	servers {
		timeouts {
			read_body_idle 1m
		}
	}`, `
	offload {
		request_spool off
		first_byte_timeout 50ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			conn, err := net.Dial("tcp", s.Clear)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\nthe begin,")
			answers := bufio.NewReader(conn)
			res, err := http.ReadResponse(answers, nil)
			if err != nil || res.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("got %v, %v, want 504", res, err)
				return
			}
			io.WriteString(conn, "the rest..GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
			io.Copy(io.Discard, res.Body)
			if res, err := http.ReadResponse(answers, nil); err == nil && res.StatusCode != http.StatusOK {
				t.Errorf("the next request got %d", res.StatusCode)
			}
		})
	}
	all.Wait()
}

// If a backend stops reading a body that its client sends without pause, the backend is
// the slow side: the run keeps its permit.
func TestBackendThatReadsNoBodyKeepsThePermit(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			_, _ = http.ReadRequest(bufio.NewReader(conn)) // its head; then it is blocked
			conns <- conn
		}
	}()
	s := site.Serve(t, nil, `
	offload /upload {
		name unread
		concurrency 1
		max_wait 200ms
		request_spool off
		first_byte_timeout 2s
		abandon_timeout 1m
		breaker off
	}
	reverse_proxy `+backend.Addr().String())
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		upload := func() int {
			body, writer := io.Pipe()
			go feed(writer, strings.Repeat("x", 1<<20), 0)
			defer body.Close()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/upload", body)
			res, err := c.Do(req)
			if err != nil {
				return 0
			}
			defer res.Body.Close()
			return res.StatusCode
		}
		if status := upload(); status != http.StatusGatewayTimeout && status != 0 {
			t.Fatalf("got %d, want 504", status)
		}
		conn := <-conns
		for range 2 {
			if status := upload(); status != http.StatusServiceUnavailable && status != 0 {
				t.Errorf("got %d while the backend is blocked, want 503", status)
			}
		}
		if n := len(conns); n > 0 {
			t.Errorf("%d more requests came to the blocked backend, want none", n)
		}
		conn.Close()
		testkit.Eventually(t, func() bool { // the permit is back
			if status := upload(); status == http.StatusServiceUnavailable {
				return false
			}
			select {
			case conn := <-conns:
				conn.Close()
				return true
			default:
				return false
			}
		})
	})
}

// Transports that outlast their request do not touch its body, which error routes and the
// access log read. The race detector reports violations.
func TestTransportsKeepOffBodiesOfOldRequests(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/all" {
			io.Copy(io.Discard, r.Body)
		}
		testkit.Pause(60 * time.Millisecond)
	}), `
	offload {
		name old
		concurrency 20
		request_spool off
		first_byte_timeout 50ms
		breaker off
	}
	handle_errors {
		respond "late {http.request.body}"
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		var requests sync.WaitGroup
		for i := range 40 {
			requests.Go(func() {
				path, length := []string{"/all", "/none"}[i%2], int64(20<<10)
				body := io.Reader(strings.NewReader(strings.Repeat("x", 20<<10)))
				if i%4 > 1 { // one that is held back
					held, writer := io.Pipe()
					defer writer.Close()
					go func() { io.WriteString(writer, "x") }()
					body = held
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, body)
				req.ContentLength = length
				if res, err := c.Do(req); err == nil {
					res.Body.Close()
				}
			})
		}
		requests.Wait()
	})
}
