package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// frail is a backend that is down until it is started, and that ends connections without an
// answer.
type frail struct {
	t     *testing.T
	addr  string
	keeps bool // connections, for more requests

	mu     sync.Mutex // guards the rest
	resets int        // connections that it ends from now on
	got    []string   // requests, one a line
	server *http.Server
}

func newFrail(t *testing.T) *frail {
	f := &frail{t: t, addr: site.FreeAddr(t)}
	t.Cleanup(f.stop)
	return f
}

// start begins to serve, and ends the first so many connections.
func (f *frail) start(resets int) {
	f.t.Helper()
	addr, err := caddy.ParseNetworkAddress(f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	listener, err := addr.Listen(f.t.Context(), 0, net.ListenConfig{}) // which shares the port with its reservation
	if err != nil {
		f.t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	server.SetKeepAlivesEnabled(f.keeps)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets, f.got, f.server = resets, nil, server
	go func() { _ = server.Serve(listener.(net.Listener)) }()
}

// stop ends it as a crash does.
func (f *frail) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		_ = f.server.Close()
	}
}

func (f *frail) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	f.got = append(f.got, fmt.Sprintf("%s %s %q %s", r.Method, r.URL, r.Header["X-Behind"], body))
	ends := f.resets > 0
	f.resets--
	f.mu.Unlock()
	if ends {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// requests are those that have come.
func (f *frail) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.got...)
}

// again is a pool whose breaker holds its callers, in front of a frail backend. words are
// options of it, behind directives after it.
func again(t *testing.T, words, behind string) (*frail, *site.Site, *operator) {
	t.Helper()
	f := newFrail(t)
	s, o := serveOperated(t, nil, `
	route {
		offload {
			name again
			`+words+`
			breaker {
				hold 20s
				min_requests 1000
			}
		}
		`+behind+`
		reverse_proxy `+f.addr+`
	}`)
	return f, s, o
}

// untilHeld waits until the breaker is open and so many requests wait.
func untilHeld(o *operator, n int) {
	o.t.Helper()
	o.eventually("again", func(p object) bool { return p["breaker"] != "closed" && p["waiting"] == float64(n) })
}

// idle waits until nothing of a request is left.
func idle(o *operator) {
	o.t.Helper()
	o.eventually("again", func(p object) bool {
		return p["running"] == 0.0 && p["waiting"] == 0.0 && p["uploading"] == 0.0
	})
	testkit.Eventually(o.t, func() bool {
		requests := o.get("spool", "")["requests"].(object)
		return requests["memory_bytes"] == 0.0 && requests["disk_bytes"] == 0.0
	})
}

func send(t *testing.T, c *http.Client, method, url, body string, header ...string) *asked {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return askFor(c, req)
}

// While their backend is down requests of all methods wait, since it has got none of them.
// Each is served once when it is back, whole, and logged once.
func TestRequestsWaitUntilTheirBackendIsBack(t *testing.T) {
	f, s, o := again(t, "max_wait 20s", "")
	logged := 0
	for version, c := range s.Clients() {
		for _, tt := range []struct{ method, body string }{
			{"GET", ""}, {"POST", strings.Repeat("x", 3<<20)}, {"POST", "small"}, {"DELETE", ""},
		} {
			t.Run(fmt.Sprint(version, tt.method, len(tt.body)), func(t *testing.T) {
				a := send(t, c, tt.method, "https://"+s.Addr+"/", tt.body)
				untilHeld(o, 1)
				f.start(0)
				a.want(t, 200)
				if a.body != tt.body {
					t.Errorf("the backend got %d bytes", len(a.body))
				}
				if got := f.requests(); len(got) != 1 {
					t.Errorf("the backend got %d requests", len(got))
				}
				idle(o)
				logged++
				lines := s.AccessLog(logged)
				line := lines[logged-1]
				offload := line["offload"].(object)
				sends, _ := offload["sends"].(float64)
				if len(lines) != logged || line["status"] != 200.0 || offload["outcome"] != "success" || sends < 2 {
					t.Errorf("%d lines, the last one is %v: %v", len(lines), line["status"], offload)
				}
				f.stop()
			})
		}
	}
	for _, e := range o.status().Explanations {
		if e["host"] == s.Addr {
			t.Errorf("explained %v", e)
		}
	}
}

// A request that its backend may have begun to work on is sent once more, as often as the
// route allows that, and not at all where HTTP does not.
func TestRequestsThatReachedTheirBackendAreSentOnceMore(t *testing.T) {
	key := []string{"Idempotency-Key", "1"}
	for _, tt := range []struct {
		words, method string
		header        []string
		resets        int
		status, sends int
	}{
		{"", "GET", nil, 1, 200, 2},
		{"", "GET", nil, 9, 502, 2},
		{"", "POST", nil, 1, 502, 1},
		{"", "PUT", nil, 1, 502, 1},
		{"", "POST", key, 1, 200, 2},
		{"", "POST", key, 9, 502, 2},
		{"resend off", "GET", nil, 1, 502, 1},
		{"resend 3", "GET", nil, 3, 200, 4},
		{"resend 3", "GET", nil, 9, 502, 4},
	} {
		t.Run(fmt.Sprint(tt.words, tt.method, tt.header, tt.resets), func(t *testing.T) {
			f, s, o := again(t, tt.words, "")
			f.start(tt.resets)
			body := ""
			if tt.method != "GET" {
				body = "body"
			}
			a := send(t, s.Clients()["h2"], tt.method, "https://"+s.Addr+"/", body, tt.header...)
			a.want(t, tt.status)
			if got := f.requests(); len(got) != tt.sends {
				t.Errorf("the backend got %d, want %d: %q", len(got), tt.sends, got)
			}
			idle(o)
		})
	}
}

// One that was sent in vain before goes back without a further send of that kind.
func TestWhatWasSentCountsForAllRuns(t *testing.T) {
	f, s, o := again(t, "max_wait 20s", "")
	f.keeps = true
	c := s.Clients()["h1"]
	f.start(0)
	send(t, c, "GET", "https://"+s.Addr+"/", "").want(t, 200) // leaves an idle connection
	f.stop()
	get := send(t, c, "GET", "https://"+s.Addr+"/", "")
	untilHeld(o, 1)
	f.start(9)
	get.want(t, 502)
	if got := f.requests(); len(got) > 2 {
		t.Errorf("the backend got %q", got)
	}
	idle(o)
}

// Handlers behind get the request as it was, each time.
func TestHandlersBehindGetAFreshRequest(t *testing.T) {
	f, s, o := again(t, "max_wait 20s", `
		rewrite * /more{uri}
		request_header +X-Behind one
		request_header X-Behind ^(.*)$ $1-two
		vars seen "{vars.seen}x"
		request_header +X-Behind {vars.seen}
		request_header +X-Behind {path}
		handle /none/* {
			respond "wrong"
		}
		handle {
			request_header +X-Behind handled
		}`)
	for version, c := range s.Clients() {
		get := send(t, c, "GET", "https://"+s.Addr+"/a?b=c", "", "X-Behind", "client")
		untilHeld(o, 1)
		f.start(0)
		get.want(t, 200)
		want := `GET /more/a?b=c ["client-two" "one-two" "x" "/more/a" "handled"] `
		if got := f.requests(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: the backend got %q, want %q", version, got, want)
		}
		idle(o)
		f.stop()
	}
}

// A client that leaves while its request waits again frees all of it.
func TestClientsLeaveWhileTheirRequestsWaitAgain(t *testing.T) {
	f, s, o := again(t, "max_wait 20s", "")
	for version, c := range s.Clients() {
		site.Leave(t, c, "https://"+s.Addr+"/", func() { untilHeld(o, 1) })
		idle(o)
		post := send(t, c, "POST", "https://"+s.Addr+"/", "body")
		untilHeld(o, 1)
		id := o.requests("waiting", "again")[0]["id"].(string)
		o.post("requests/{id}/cancel", id, "")
		post.want(t, 503)
		idle(o)
		if got := f.requests(); len(got) != 0 {
			t.Errorf("%s: the backend got %q", version, got)
		}
	}
}

// Neither a reload without the pool nor one with other settings loses a request that waits
// again.
func TestReloadsLoseNoRequestThatWaitsAgain(t *testing.T) {
	for name, body := range map[string]string{
		"without the pool": `respond "other"`,
		"other settings":   "offload {\n name again\n concurrency 3\n breaker {\n hold 20s\n }\n }\n respond other",
	} {
		t.Run(name, func(t *testing.T) {
			f, s, o := again(t, "max_wait 20s", "")
			get := send(t, s.Clients()["h2"], "GET", "https://"+s.Addr+"/", "")
			untilHeld(o, 1)
			s.Load(body)
			f.start(0)
			get.want(t, 200)
			testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
			if got := f.requests(); len(got) != 1 {
				t.Errorf("the backend got %q", got)
			}
		})
	}
}

// A request waits again until max_wait has passed since it came, and is rejected then as if
// it had waited all the time.
func TestTheWholeWaitIsBounded(t *testing.T) {
	_, s, o := again(t, "max_wait 1s", "")
	began := time.Now()
	get := send(t, s.Clients()["h1"], "GET", "https://"+s.Addr+"/", "")
	get.want(t, 503)
	if took := time.Since(began); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	idle(o)
	if line := s.AccessLog(1)[0]["offload"].(object); line["reason"] != "wait_timeout" {
		t.Errorf("logged %v", line)
	}
}

// A request in another pool's run waits again while that run goes on.
func TestNestedRequestsWaitAgain(t *testing.T) {
	f := newFrail(t)
	s, o := serveOperated(t, nil, `
	route {
		offload {
			name outside
		}
		offload {
			name again
			max_wait 20s
			breaker {
				hold 20s
			}
		}
		reverse_proxy `+f.addr+`
	}`)
	c := s.Clients()["h2"]
	get := send(t, c, "GET", "https://"+s.Addr+"/", "")
	untilHeld(o, 1)
	f.start(0)
	get.want(t, 200)
	idle(o)
	f.stop()
	get = send(t, c, "GET", "https://"+s.Addr+"/", "")
	untilHeld(o, 1)
	id := o.requests("waiting", "again")[0]["id"].(string)
	o.post("requests/{id}/cancel", id, "")
	get.want(t, 503)
	idle(o)
	o.eventually("outside", func(p object) bool { return p["running"] == 0.0 })
}

// A backend that is down for a while under load fails no request that may be sent again, and
// gets no other one twice.
func TestAnOutageUnderLoadGoesUnnoticed(t *testing.T) {
	f, s, o := again(t, "max_wait 20s\nconcurrency 4", "")
	f.keeps = true
	f.start(0)
	var clients sync.WaitGroup
	var sent, failed atomic.Int32
	ctx, end := context.WithCancel(t.Context())
	for i := range 12 {
		c, method := s.Clients()["h1"], []string{"GET", "POST", "HEAD"}[i%3]
		clients.Go(func() {
			for ctx.Err() == nil {
				n := sent.Add(1)
				a := send(t, c, method, "https://"+s.Addr+"/", "", "X-Behind", strconv.Itoa(int(n)))
				<-a.done
				if a.err != nil || (a.res.StatusCode != 200 && method != "POST") {
					t.Errorf("%s %d: %v, %v", method, n, a.res, a.err)
				} else if a.res.StatusCode != 200 {
					failed.Add(1)
				}
			}
		})
	}
	came := map[string]int{}
	for range 3 {
		before := sent.Load()
		testkit.Eventually(t, func() bool { return sent.Load() > before+100 })
		f.stop()
		untilHeld(o, 12)
		for _, line := range f.requests() {
			came[line]++
		}
		f.start(0)
	}
	end()
	clients.Wait()
	for _, line := range f.requests() {
		came[line]++
	}
	idle(o)
	for line, n := range came {
		if n > 2 || (n > 1 && strings.HasPrefix(line, "POST")) {
			t.Errorf("the backend got %d times %s", n, line)
		}
	}
	t.Logf("%d requests, %d of POST failed that had reached the backend", sent.Load(), failed.Load())
}
