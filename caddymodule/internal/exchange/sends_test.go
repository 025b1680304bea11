package exchange_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
)

// mortal is a backend of HTTP/1 whose workers answer one request for each connection
// and die of the next one.
type mortal struct {
	backend
	reads  bool          // a worker reads the request before it dies
	hold   chan struct{} // and waits for this, if there is one
	deaths atomic.Int32  // requests that a worker died of
	alive  sync.WaitGroup
}

func serveMortal(t *testing.T, reads bool) *mortal {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{reads: reads}
	m.url, m.Transport = "http://"+listener.Addr().String(), &http.Transport{MaxIdleConnsPerHost: 100}
	exchange.Bound(m.Transport)
	m.alive.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.alive.Go(func() { m.work(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		m.CloseIdleConnections()
		m.alive.Wait()
	})
	return m
}

// work answers requests for /warm. Any other one is the worker's death.
func (m *mortal) work(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		if begin, err := r.Peek(10); err != nil || !strings.HasPrefix(string(begin), "GET /warm") {
			if err == nil {
				m.deaths.Add(1)
			}
			if err == nil && m.reads {
				if req, err := http.ReadRequest(r); err == nil {
					io.Copy(io.Discard, req.Body)
				}
			}
			if err == nil && m.hold != nil {
				<-m.hold
			}
			return
		}
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwarm"); err != nil {
			return
		}
	}
}

// warm makes n idle connections. Each is taken until its answer is read.
func (m *mortal) warm(t *testing.T, n int) {
	t.Helper()
	for range n {
		res, err := m.RoundTrip(request(t, "GET", m.url+"/warm"))
		if err != nil {
			t.Fatal(err)
		}
		defer look(res, nil)
	}
}

// post is a request with a body that can be had again.
func post(t *testing.T, url string, header http.Header) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	return req
}

// A request that workers die of costs as many of them as its route allows, however many
// connections there are, and only where HTTP allows to send again at all. What the
// client's proxy says of it is a failure of the backend.
func TestWorkersThatDieOfARequest(t *testing.T) {
	key := http.Header{"Idempotency-Key": {"1"}}
	for _, tt := range []struct {
		name    string
		req     func(t *testing.T, url string) *http.Request
		resends int
		want    int32
	}{
		{"GET", func(t *testing.T, url string) *http.Request { return request(t, "GET", url) }, 1, 2},
		{"HEAD", func(t *testing.T, url string) *http.Request { return request(t, "HEAD", url) }, 1, 2},
		{"DELETE", func(t *testing.T, url string) *http.Request { return request(t, "DELETE", url) }, 1, 1},
		{"GET, off", func(t *testing.T, url string) *http.Request { return request(t, "GET", url) }, 0, 1},
		{"GET, twice", func(t *testing.T, url string) *http.Request { return request(t, "GET", url) }, 2, 3},
		{"POST", func(t *testing.T, url string) *http.Request { return post(t, url, nil) }, 1, 1},
		{"POST with a key", func(t *testing.T, url string) *http.Request { return post(t, url, key) }, 1, 2},
		{"POST with a key, off", func(t *testing.T, url string) *http.Request { return post(t, url, key) }, 0, 1},
		{"POST with a key, twice", func(t *testing.T, url string) *http.Request { return post(t, url, key) }, 2, 3},
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, ", reads ", reads), func(t *testing.T) {
				m := serveMortal(t, reads)
				m.warm(t, 10)
				o := newOwner()
				o.resends = tt.resends
				_, err := exchange.RoundTrip(m, o.of(tt.req(t, m.url+"/die")), o)
				if err == nil || errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want a failure of the backend", err)
				}
				o.wantEnd(t, false)
				// A write may fail at once on a connection that is dying: that one is free.
				if deaths, sent := m.deaths.Load(), o.sent.Load(); deaths != tt.want || sent < tt.want {
					t.Errorf("%d workers died of %d sends, want %d", deaths, sent, tt.want)
				}
				if again := o.again.Load(); again != tt.want-1 {
					t.Errorf("%d sends were noted that others followed, want %d", again, tt.want-1)
				}
				if !exchange.Unanswered(err) {
					t.Errorf("%v is not taken for a backend without an answer", err)
				}
			})
		}
	}
}

// An owner that suspects the idle connections gets a new one after the first that has ended.
func TestIdleConnectionsAreSuspect(t *testing.T) {
	for suspects, want := range map[bool]int{false: 9, true: 0} {
		m := serveMortal(t, true)
		m.warm(t, 10)
		o := newOwner()
		o.suspects, o.resends = suspects, 0
		if _, err := exchange.RoundTrip(m, o.of(request(t, "GET", m.url+"/die")), o); err == nil {
			t.Error("no failure")
		}
		o.wantEnd(t, false)
		idle := 0
		for range 9 {
			reused := false
			req := request(t, "GET", m.url+"/warm")
			res, err := m.RoundTrip(req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused },
			})))
			if err != nil {
				t.Fatal(err)
			}
			defer look(res, nil)
			if reused {
				idle++
			}
		}
		if idle != want {
			t.Errorf("suspects %v: %d idle connections, want %d", suspects, idle, want)
		}
	}
}

// A backend has not answered if there is no connection to it, or that has ended. A timeout
// says nothing about that, and neither does an error of the request.
func TestUnanswered(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	ends := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}))
	defer ends.Close()
	transport := &http.Transport{ResponseHeaderTimeout: 20 * time.Millisecond}
	defer transport.CloseIdleConnections()
	invalid := request(t, "GET", ends.URL)
	invalid.Header["Not valid"] = []string{"1"}
	for name, tt := range map[string]struct {
		req  *http.Request
		want bool
	}{
		"no connection":           {request(t, "GET", closed.URL), true},
		"a connection that ended": {request(t, "GET", ends.URL), true},
		"the same after a body":   {post(t, ends.URL, nil), true},
		"a timeout":               {request(t, "GET", ends.URL+"/late"), false},
		"an invalid request":      {invalid, false},
	} {
		res, err := transport.RoundTrip(tt.req)
		if err == nil {
			res.Body.Close()
			t.Errorf("%s: no error", name)
		}
		if got := exchange.Unanswered(err); got != tt.want {
			t.Errorf("%s: %v: got %v", name, err, got)
		}
	}
	if exchange.Unanswered(nil) {
		t.Error("an answer is none")
	}
}

// A request whose run has left is not sent again: there is no use for its answer.
func TestLeavingEndsTheResends(t *testing.T) {
	m := serveMortal(t, true)
	m.hold = make(chan struct{})
	m.warm(t, 5)
	o := newOwner()
	o.resends = 5
	failed := make(chan error)
	go func() {
		_, err := exchange.RoundTrip(m, o.of(request(t, "GET", m.url+"/die")), o)
		failed <- err
	}()
	x := <-o.began
	for m.deaths.Load() == 0 {
		runtime.Gosched()
	}
	x.Leave(errLeft)
	if err := <-failed; err != errLeft {
		t.Errorf("got %v", err)
	}
	o.wantGoingOn(t)
	close(m.hold)
	o.wantEnd(t, false)
	if deaths, sent := m.deaths.Load(), o.sent.Load(); deaths != 1 || sent != 1 {
		t.Errorf("%d workers died of %d sends", deaths, sent)
	}
}

// Other requests through the same transport are none of its business.
func TestRequestsOutsideAnExchange(t *testing.T) {
	m := serveMortal(t, true)
	m.warm(t, 5)
	if _, err := m.RoundTrip(request(t, "GET", m.url+"/die")); err == nil {
		t.Error("no failure")
	}
	if n := m.deaths.Load(); n != 6 {
		t.Errorf("%d workers died, want all and one more", n)
	}
}

// dead is a connection that turns out to be dead when it is written to.
type dead struct {
	net.Conn
	dies *atomic.Bool
}

func (d dead) Write(p []byte) (int, error) {
	if d.dies.Load() {
		return 0, errors.New("broken pipe")
	}
	return d.Conn.Write(p)
}

// What was not written at all is sent again on the next connection, as often as there
// are dead ones: no backend can have noticed. Of a safe request a transport says only
// that it took a connection for it, so one resend is lost, and it needs to have one.
func TestUnwrittenRequestsAreFree(t *testing.T) {
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, resends := range []int{0, 6} {
			if method == "GET" && resends == 0 {
				continue
			}
			t.Run(fmt.Sprint(method, " ", resends), func(t *testing.T) {
				var posts atomic.Int32
				b := serve(t, "h1", func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/work" {
						posts.Add(1)
					}
					io.Copy(w, r.Body)
				})
				old := new(atomic.Bool)
				b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					if old.Load() || err != nil {
						return conn, err
					}
					return dead{conn, old}, nil
				}
				m := &mortal{backend: b}
				m.warm(t, 6)
				old.Store(true)
				o := newOwner()
				o.resends = resends
				req := request(t, method, b.url+"/work")
				if method == "POST" {
					req = post(t, b.url+"/work", nil)
				}
				got := look(exchange.RoundTrip(b, o.of(req), o))
				if got.Err != "" || posts.Load() != 1 {
					t.Errorf("got %+v after %d sends, the backend has %d", got, o.sent.Load(), posts.Load())
				}
				o.wantEnd(t, false)
			})
		}
	}
}

// noted is a connection that records its close.
type noted struct {
	net.Conn
	closed chan struct{}
	once   *sync.Once
}

func (n noted) Close() error {
	n.once.Do(func() { close(n.closed) })
	return n.Conn.Close()
}

// onceBody is the body of a client: closed, it is gone.
type onceBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *onceBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.Reader.Read(p)
}

func (b *onceBody) Close() error {
	b.closed.Store(true)
	return nil
}

// A backend of HTTP/2 that was restarted gets the next request with its body, also one
// that cannot be had again: the connection that has ended has taken nothing of it.
func TestConnectionsOfHTTP2ThatHaveEnded(t *testing.T) {
	for _, resends := range []int{0, 1} {
		eachVersion(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, func(t *testing.T, b backend) {
			conns := make(chan noted, 10)
			dial := new(net.Dialer)
			b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				n := noted{conn, make(chan struct{}), new(sync.Once)}
				conns <- n
				return n, nil
			}
			for i := range 5 {
				o := newOwner()
				o.resends = resends
				req, want := request(t, "GET", b.url), ""
				if i%2 == 0 {
					want = "once"
					req = request(t, "POST", b.url)
					req.Body, req.ContentLength = &onceBody{Reader: strings.NewReader(want)}, 4
				}
				got := look(exchange.RoundTrip(b, o.of(req), o))
				if got.Err != "" || got.Body != want {
					t.Errorf("%d: got %+v", i, got)
				}
				o.wantEnd(t, false)
				conn := <-conns
				_ = conn.Conn.(*net.TCPConn).CloseRead()
				<-conn.closed // the transport has noticed
			}
		})
	}
}

// A body that cannot be had again fails the resend.
func TestBodiesThatCannotBeHadAgain(t *testing.T) {
	m := serveMortal(t, true)
	m.warm(t, 3)
	gone := errors.New("no more")
	req := post(t, m.url+"/die", http.Header{"Idempotency-Key": {"1"}})
	again := req.GetBody
	var asked atomic.Int32
	req.GetBody = func() (io.ReadCloser, error) {
		if asked.Add(1) > 1 {
			return nil, gone
		}
		return again()
	}
	o := newOwner()
	if _, err := exchange.RoundTrip(m, o.of(req), o); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	o.wantEnd(t, false)
	if n := m.deaths.Load(); n != 1 {
		t.Errorf("%d workers died", n)
	}
}

// A proxy that was configured is still asked.
func TestProxiesAreAsked(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "proxied "+r.URL.Host)
	}))
	defer proxy.Close()
	transport := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }}
	defer transport.CloseIdleConnections()
	exchange.Bound(transport)
	o := newOwner()
	got := look(exchange.RoundTrip(transport, o.of(request(t, "GET", "http://backend.test")), o))
	if got.Body != "proxied backend.test" {
		t.Errorf("got %+v", got)
	}
	o.wantEnd(t, false)
}
