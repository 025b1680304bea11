package bridge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// site is a server on one version of HTTP, with its client.
type site struct {
	version string
	url     string
	client  *http.Client
}

// window is how much the clients of a site take without being read from.
const window = 64 * kib

// eachVersion runs f as a parallel sub-test for each version of HTTP.
func eachVersion(t *testing.T, h http.Handler, f func(t *testing.T, s *site)) {
	for version, start := range map[string]func(*testing.T, http.Handler) *site{
		"h1": startHTTP1, "h2": startHTTP2, "h3": startHTTP3,
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			f(t, start(t, h))
		})
	}
}

// newServer has small buffers, so that a slow client is noticed soon.
func newServer(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetWriteBuffer(window)
		}
		return bridge.ConnContext(ctx, c)
	}
	return server
}

func startHTTP1(t *testing.T, h http.Handler) *site {
	server := newServer(h)
	server.Start()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_ = c.(*net.TCPConn).SetReadBuffer(window)
		}
		return c, err
	}
	transport := &http.Transport{DisableCompression: true, DialContext: dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return &site{"h1", server.URL, &http.Client{Transport: transport, CheckRedirect: noRedirect}}
}

func startHTTP2(t *testing.T, h http.Handler) *site {
	server := newServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	transport := &http.Transport{
		DisableCompression: true, ForceAttemptHTTP2: true, TLSClientConfig: trusting(server),
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: window},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return &site{"h2", server.URL, &http.Client{Transport: transport, CheckRedirect: noRedirect}}
}

func startHTTP3(t *testing.T, h http.Handler) *site {
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{
		Handler:   h,
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: certified.TLS.Certificates}),
		Logger:    slog.New(slog.DiscardHandler),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(conn)
	}()
	transport := &http3.Transport{
		DisableCompression: true, TLSClientConfig: trusting(certified),
		QUICConfig: &quic.Config{
			InitialStreamReceiveWindow: window, MaxStreamReceiveWindow: window,
			InitialConnectionReceiveWindow: 16 * window, MaxConnectionReceiveWindow: 16 * window,
		},
	}
	t.Cleanup(func() {
		_ = transport.Close()
		_ = server.Close()
		<-served
		_ = conn.Close()
	})
	url := "https://" + conn.LocalAddr().String()
	return &site{"h3", url, &http.Client{Transport: transport, CheckRedirect: noRedirect}}
}

func trusting(server *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return &tls.Config{RootCAs: pool}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// get starts a request. Its response is given up at the end of the test.
func (s *site) get(t *testing.T) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// readAll reads a response. The error is that of its head or of its body.
func (s *site) readAll(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// bridged is a handler of next behind a bridge.
type bridged struct {
	next   http.HandlerFunc
	opts   bridge.Options
	budget *spool.Budget
	owner  *owner // of all its runs
}

func newBridged(t *testing.T, next http.HandlerFunc) *bridged {
	b := &bridged{next: next, budget: newBudget(t), owner: new(owner)}
	b.opts = bridge.Options{Nudge: timerlist.New(nudgeAfter), Owner: b.owner}
	b.opts.Stream.Budget = b.budget
	b.opts.Stream.Bounds = spool.Bounds{Memory: 256 * kib, File: 8 * mib}
	b.opts.Stream.Stall = stallAfter
	return b
}

func (b *bridged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve(new(bridge.Writer), w, r, b.opts, b.next)
}

func TestSlowReader(t *testing.T) {
	t.Parallel()
	const size = 2*mib - 1
	returned := make(chan struct{}, 3)
	b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
		for at := 0; at < size; {
			n, err := w.Write(pattern(size)[at:min(at+10*kib, size)])
			if err != nil {
				t.Error(err)
				break
			}
			at += n
		}
		returned <- struct{}{}
	})
	eachVersion(t, b, func(t *testing.T, s *site) {
		res := s.get(t)
		<-returned // although the client has read no byte
		if used := b.budget.Usage(); used.Disk == 0 {
			t.Errorf("kept: %+v", used)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || string(got) != string(pattern(size)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestReaderThatLeaves(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{"spooled": {Memory: 256 * kib}, "not spooled": {}} {
		for _, finish := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, finish %v", name, finish), func(t *testing.T) {
				t.Parallel()
				ended := make(chan error, 1)
				var b *bridged
				handler := func(w http.ResponseWriter, r *http.Request) {
					client := b.clientOf(r)
					var err error
					for err == nil && client.Err() == nil {
						_, err = w.Write(pattern(10 * kib))
						_ = http.NewResponseController(w).Flush()
					}
					for range 200 { // more than fits anywhere
						if err == nil {
							_, err = w.Write(pattern(10 * kib))
						}
					}
					ended <- err
				}
				eachVersion(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b := newBridged(t, handler)
					b.opts.Stream.Bounds, b.opts.Finish = bounds, finish
					defer func() {
						if lost := b.owner.timesLost(); lost > 1 || (lost == 0 && bounds.Sum() > 0) {
							t.Errorf("told of a lost client %d times", lost)
						}
					}()
					b.ServeHTTP(w, b.withClient(r))
				}), func(t *testing.T, s *site) {
					res := s.get(t)
					if _, err := io.ReadFull(res.Body, make([]byte, kib)); err != nil {
						t.Fatal(err)
					}
					res.Body.Close()
					if err := <-ended; (err == nil) != finish {
						t.Errorf("the run's write: %v", err)
					}
				})
			})
		}
	}
}

type clientKey struct{}

// withClient lets a run see whether its client is there.
func (b *bridged) withClient(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), clientKey{}, r.Context()))
}

func (b *bridged) clientOf(r *http.Request) context.Context {
	return r.Context().Value(clientKey{}).(context.Context)
}

// A response that is cut short must never look complete to the client.
func TestCutIsSeen(t *testing.T) {
	t.Parallel()
	ends := map[string]func(w *bridge.Writer){
		"abort":      func(*bridge.Writer) { panic(http.ErrAbortHandler) },
		"panic":      func(*bridge.Writer) { panic("boom") },
		"kill":       func(w *bridge.Writer) { w.Kill(errKilled) },
		"too little": func(*bridge.Writer) {},
	}
	b := newBridged(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		size, _ := strconv.Atoi(q.Get("size"))
		if q.Get("end") == "too little" {
			w.Header().Set("Content-Length", strconv.Itoa(size+1))
		}
		_, _ = w.Write(pattern(size))
		if q.Get("flush") == "true" {
			_ = http.NewResponseController(w).Flush()
		}
		ends[q.Get("end")](w.(*bridge.Writer))
	})
	eachVersion(t, b, func(t *testing.T, s *site) {
		for end := range ends {
			for _, size := range []int{1, 5 * kib, 200 * kib} {
				for _, flush := range []bool{false, true} {
					q := url.Values{"end": {end}, "size": {strconv.Itoa(size)}, "flush": {strconv.FormatBool(flush)}}
					got, err := s.readAll(t, "?"+q.Encode())
					if err == nil {
						t.Errorf("%v: %d bytes, and a clean end", q, len(got))
					}
					// A reset of HTTP/2 or 3 may overtake what came before it.
					if whole := string(got) == string(pattern(size)); s.version == "h1" && !whole {
						t.Errorf("%v: %d bytes, %v", q, len(got), err)
					}
				}
			}
		}
	})
}

// A client may leave while a 1xx head is written to it. On HTTP/2 net/http returns
// then at once, and its own goroutine goes on reading the header map: a write to
// that would end the process.
func TestLeavingWhileInformed(t *testing.T) {
	t.Parallel()
	const fields = 100 // enough to take a while
	b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
		for n := range fields {
			w.Header().Set(fmt.Sprintf("X-%d", n), string(pattern(100)))
		}
		for range 10 {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	eachVersion(t, b, func(t *testing.T, s *site) {
		for n := range 100 {
			ctx, leave := context.WithTimeout(t.Context(), time.Duration(n)*20*time.Microsecond)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := s.client.Do(req); err == nil {
				res.Body.Close()
			}
			leave()
		}
	})
}

// The bytes that a killed run has written reach its client, also without a spool and without
// a flush. A client without an answer would ask again.
func TestKillKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{"not spooled": {}, "spooled": {Memory: 64 * kib}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write(pattern(10))
				w.(*bridge.Writer).Kill(errKilled)
			})
			b.opts.Stream.Bounds = bounds
			eachVersion(t, b, func(t *testing.T, s *site) {
				got, err := s.readAll(t, "")
				if err == nil {
					t.Errorf("%d bytes, and a clean end", len(got))
				}
				// A reset of HTTP/2 or 3 may overtake what came before it.
				if s.version == "h1" && string(got) != string(pattern(10)) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		})
	}
}

// A client of HTTP/1 may say that it sends nothing more and read on. To net/http
// it has left then. It must not take what it gets for the whole.
func TestHalfClosedClient(t *testing.T) {
	t.Parallel()
	var b *bridged
	b = newBridged(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(pattern(10 * kib))
		_ = http.NewResponseController(w).Flush()
		<-b.clientOf(r).Done()
		for range 10 {
			_, _ = w.Write(pattern(10 * kib))
		}
	})
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.ServeHTTP(w, b.withClient(r))
	}))
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(res.Body)
	if len(got) < 110*kib && err == nil {
		t.Errorf("%d bytes, and a clean end", len(got))
	}
	res.Body.Close()
}

// The client of a run that is killed gets its answer while the run blocks. On
// HTTP/2 and 3 it has all of it then, but for the end.
func TestAnswerWhileStuck(t *testing.T) {
	t.Parallel()
	const late = "Gateway Timeout\n"
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			eachVersion(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := newBridged(t, func(w http.ResponseWriter, r *http.Request) {
					answered := make(chan struct{})
					go func() {
						defer close(answered)
						w.(*bridge.Writer).KillBeforeHead(errKilled)
						w.(*bridge.Writer).AnswerStuck(http.StatusGatewayTimeout, late, nil)
					}()
					w.Header().Set("X-Run", "1")
					<-r.Context().Value(clientKey{}).(chan struct{})
					<-answered
					if _, err := w.Write(pattern(10 * kib)); !errors.Is(err, errKilled) {
						t.Errorf("write after the kill: %v", err)
					}
				})
				release := released.of(r.Header.Get("X-Test"))
				serve(new(bridge.Writer), wrapped{w}, r.WithContext(context.WithValue(r.Context(), clientKey{}, release)), b.opts, b.next)
			}), func(t *testing.T, s *site) {
				req, _ := http.NewRequestWithContext(t.Context(), method, s.url, nil)
				name := released.name()
				req.Header.Set("X-Test", name)
				release := sync.OnceFunc(func() { close(released.of(name)) })
				defer release()
				res, err := s.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != http.StatusGatewayTimeout || res.ContentLength != int64(len(late)) || res.Header.Get("X-Run") != "" {
					t.Errorf("status %d, length %d, header %v", res.StatusCode, res.ContentLength, res.Header)
				}
				if res.Close != (s.version == "h1") {
					t.Errorf("connection closed: %v", res.Close)
				}
				if method == http.MethodGet {
					got := make([]byte, len(late))
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != late {
						t.Errorf("%q, %v", got, err)
					}
				}
				if s.version != "h1" {
					release()
				}
				if got, err := io.ReadAll(res.Body); err != nil || len(got) != 0 {
					t.Errorf("after it: %q, %v", got, err)
				}
			})
		})
	}
}

// released are the runs that may go on, by a name that their request has.
var released channels

type channels struct {
	names atomic.Int64
	all   sync.Map
}

// name returns a new one.
func (c *channels) name() string { return strconv.FormatInt(c.names.Add(1), 10) }

func (c *channels) of(name string) chan struct{} {
	got, _ := c.all.LoadOrStore(name, make(chan struct{}))
	return got.(chan struct{})
}

// A kill wakes a run that is blocked by its own writing to a client.
func TestKillWakesDirectWriter(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]spool.Bounds{"not spooled": {}, "spool full": {Memory: 64 * kib}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 3)
			eachVersion(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
					watch := &progress{ResponseWriter: w}
					kill := time.AfterFunc(0, func() { // as a timeout, once it is blocked
						watch.untilBlocked()
						w.(*bridge.Writer).Kill(errKilled)
					})
					defer kill.Stop()
					var err error
					for err == nil {
						_, err = watch.Write(pattern(64 * kib))
					}
					ended <- err
				})
				b.opts.Stream.Bounds = bounds
				b.ServeHTTP(w, r)
			}), func(t *testing.T, s *site) {
				res := s.get(t)
				<-ended
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("a clean end")
				}
			})
		})
	}
}

// progress sees whether a writer makes any.
type progress struct {
	http.ResponseWriter
	mu    sync.Mutex
	count int
}

func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.count++
	p.mu.Unlock()
	return p.ResponseWriter.Write(b)
}

// untilBlocked returns when nothing was written for a while.
func (p *progress) untilBlocked() {
	last := -1
	for {
		p.mu.Lock()
		now := p.count
		p.mu.Unlock()
		if now == last {
			return
		}
		last = now
		testkit.Quiet(50 * time.Millisecond)
	}
}

// The bytes kept for a client that has stalled its run are dropped, although it still does
// not read.
func TestStalledClientIsLetGo(t *testing.T) {
	t.Parallel()
	ended := make(chan any, 3)
	eachVersion(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(pattern(64 * kib))
			}
		})
		b.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib, File: 64 * kib}
		b.opts.Stream.Stall = 50 * time.Millisecond
		value := panicOf(func() { b.ServeHTTP(w, r) })
		if used := b.budget.Usage(); used != (spool.Usage{}) {
			t.Errorf("still kept: %+v", used)
		}
		ended <- value
		panic(value)
	}), func(t *testing.T, s *site) {
		res := s.get(t)
		if value := <-ended; value != http.ErrAbortHandler {
			t.Errorf("panic %v, want an abort", value)
		}
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a clean end")
		}
	})
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for name, sendHead := range map[string]bool{"with a head": true, "without a head": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBridged(t, func(w http.ResponseWriter, _ *http.Request) {
				const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
				if sendHead {
					w.Header().Set("Connection", "Upgrade")
					w.Header().Set("Upgrade", "echo")
					w.WriteHeader(http.StatusSwitchingProtocols)
				}
				c := http.NewResponseController(w)
				if sendHead {
					isErr(t, "flush", c.Flush(), nil)
				}
				conn, buf, err := c.Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if !sendHead {
					_, _ = io.WriteString(conn, head)
				}
				line, err := buf.ReadString('\n')
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, line)
			})
			s := startHTTP1(t, b)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")
			res, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("status %d", res.StatusCode)
			}
			_, _ = io.WriteString(res.Body.(io.Writer), "hello\n")
			got, err := io.ReadAll(res.Body)
			if err != nil || string(got) != "hello\n" {
				t.Errorf("echo %q, %v", got, err)
			}
			if b.owner.upgraded != 1 {
				t.Errorf("told of %d upgrades", b.owner.upgraded)
			}
		})
	}
}

// CONNECT on HTTP/2 is a stream in both directions: nothing of it is kept.
func TestConnect(t *testing.T) {
	t.Parallel()
	b := newBridged(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write([]byte(strings.ToUpper(string(buf[:n]))))
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	})
	s := startHTTP2(t, b)
	in, out := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, s.url, in)
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, word := range []string{"one", "two"} {
		_, _ = io.WriteString(out, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != strings.ToUpper(word) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	out.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
	if b.owner.upgraded != 1 || !b.owner.direct {
		t.Errorf("told of %d upgrades, direct %v", b.owner.upgraded, b.owner.direct)
	}
}

// Events of a stream are at the client before the next one is made.
func TestEvents(t *testing.T) {
	t.Parallel()
	eachVersion(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := newBridged(t, func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			w.Header().Set("Content-Type", "text/event-stream")
			_ = c.Flush()
			for i := range 20 {
				<-released.of(fmt.Sprint(r.Header.Get("X-Test"), " ", i))
				fmt.Fprintf(w, "data: %d\n", i)
				if i%2 == 0 { // the other ones come by themselves
					_ = c.Flush()
				}
			}
		})
		b.ServeHTTP(w, r)
	}), func(t *testing.T, s *site) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		name := released.name()
		req.Header.Set("X-Test", name)
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for i := range 20 {
			close(released.of(fmt.Sprint(name, " ", i)))
			if got, err := lines.ReadString('\n'); got != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d: %q, %v", i, got, err)
			}
		}
		if _, err := lines.ReadString('\n'); !errors.Is(err, io.EOF) {
			t.Errorf("end: %v", err)
		}
	})
}
