package caddymodule_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// mortal is a backend whose workers answer /warm on as many connections as ask at once,
// and die of anything else.
type mortal struct {
	addr   string
	deaths atomic.Int32
	now    atomic.Int32
	answer chan struct{}
}

func serveMortal(t *testing.T) *mortal {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{addr: listener.Addr().String(), answer: make(chan struct{})}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.work(conn)
		}
	}()
	return m
}

func (m *mortal) work(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if req.URL.Path != "/warm" {
			m.deaths.Add(1)
			return
		}
		m.now.Add(1)
		<-m.answer
		m.now.Add(-1)
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwarm"); err != nil {
			return
		}
	}
}

// warm makes n idle connections to the backend.
func (m *mortal) warm(t *testing.T, c *http.Client, url string, n int32) {
	t.Helper()
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() { site.Get(t, c, url+"/warm") })
	}
	testkit.Eventually(t, func() bool { return m.now.Load() == n })
	for range n {
		m.answer <- struct{}{}
	}
	clients.Wait()
}

// A request that kills its worker kills two at most, not one for each idle connection, and
// only one where HTTP does not allow to send it again. The client gets 502 as for any
// backend that ends its connection.
func TestARequestKillsFewWorkers(t *testing.T) {
	for _, tt := range []struct {
		words, method string
		key           bool
		want          int32
	}{
		{"", "GET", false, 2},
		{"", "POST", false, 1},
		{"", "POST", true, 2},
		{"", "DELETE", false, 1},
		{"resend off", "GET", false, 1},
		{"resend off", "POST", true, 1},
		{"resend 2", "GET", false, 3},
		{"resend 2", "POST", false, 1},
		{"resend 2", "POST", true, 3},
	} {
		t.Run(fmt.Sprint(tt.method, tt.key, tt.words), func(t *testing.T) {
			m := serveMortal(t)
			s := site.Serve(t, nil, "offload {\n name mortal\n concurrency 20\n"+tt.words+"\n }\n reverse_proxy "+m.addr)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				m.warm(t, c, url, 8)
				before := m.deaths.Load()
				var body io.Reader
				if tt.method == "POST" {
					body = strings.NewReader("body")
				}
				req, _ := http.NewRequestWithContext(t.Context(), tt.method, url+"/die", body)
				if tt.key {
					req.Header.Set("Idempotency-Key", "1")
				}
				if res, _ := site.Do(t, c, req); res.StatusCode != 502 {
					t.Errorf("got %d", res.StatusCode)
				}
				if n := m.deaths.Load() - before; n != tt.want {
					t.Errorf("%d workers died, want %d", n, tt.want)
				}
			})
		})
	}
}

// Handlers that send by themselves get the body again as often as the route allows.
func TestBodiesCanBeHadAgainOnce(t *testing.T) {
	for words, want := range map[string]int{"": 1, "resend off": 0, "resend 3": 3} {
		t.Run(words, func(t *testing.T) {
			name := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
				again := 0
				for ; again < 10; again++ {
					body, err := r.GetBody()
					if err != nil {
						if errors.Is(err, io.EOF) {
							t.Error("an end is no error")
						}
						break
					}
					text, err := io.ReadAll(body)
					if err != nil || string(text) != "body" {
						t.Errorf("got %q, %v", text, err)
					}
				}
				if again != want {
					t.Errorf("it could be had again %d times, want %d", again, want)
				}
				return nil
			})
			s := site.Serve(t, nil, "offload {\n name again\n"+words+"\n }\n"+name)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("body"))
				if res, _ := site.Do(t, c, req); res.StatusCode != 200 {
					t.Errorf("got %d", res.StatusCode)
				}
			})
		})
	}
}
