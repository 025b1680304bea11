package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// writers is an outer handler's writer that notes which goroutines use it.
type writers struct {
	http.ResponseWriter
	mu  sync.Mutex
	all []string
}

func (w *writers) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writers) note() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, goroutine())
}

func (w *writers) Write(p []byte) (int, error) {
	w.note()
	return w.ResponseWriter.Write(p)
}

func (w *writers) FlushError() error {
	w.note()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// others returns how many calls came on other goroutines than the caller's.
func (w *writers) others() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	here := goroutine()
	for _, g := range w.all {
		if g != here {
			n++
		}
	}
	return n
}

// through is a site on HTTP/1 whose sockets the bridge knows.
type through struct {
	*bridged
	next func(w *writers, bridged http.ResponseWriter, r *http.Request)
}

func newThrough(t *testing.T, next func(w *writers, bridged http.ResponseWriter, r *http.Request)) *through {
	s := &through{newBridged(t, nil), next}
	s.opts.Stream.Patience = patience
	return s
}

func (s *through) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	outer := &writers{ResponseWriter: w}
	serve(new(bridge.Writer), outer, r, s.opts, func(w http.ResponseWriter, r *http.Request) { s.next(outer, w, r) })
}

// eachTransport runs f with TCP and TLS. Sockets have buffers of that size, zero for the
// kernel's choice.
func eachTransport(t *testing.T, h http.Handler, buffer int, f func(t *testing.T, dial func() net.Conn)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "TCP", true: "TLS"}[secure], func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(h)
			server.Config.ErrorLog = newServer(h).Config.ErrorLog
			server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				if buffer > 0 {
					setBuffer(c, buffer)
				}
				return bridge.ConnContext(bridge.ConnContext(ctx, c), c)
			}
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			f(t, func() net.Conn {
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if buffer > 0 {
					_ = conn.(*net.TCPConn).SetReadBuffer(buffer)
				}
				if secure {
					config := trusting(server)
					config.ServerName, config.NextProtos = "example.com", []string{"http/1.1"}
					conn = tls.Client(conn, config)
				}
				t.Cleanup(func() { conn.Close() })
				return conn
			})
		})
	}
}

func setBuffer(c net.Conn, size int) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	_ = c.(*net.TCPConn).SetWriteBuffer(size)
}

// ask sends a request for that path.
func ask(t *testing.T, conn net.Conn, path, version string) *bufio.Reader {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "GET /%s HTTP/%s\r\nHost: example.com\r\n\r\n", path, version); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn)
}

// answerOf reads the head of a response.
func answerOf(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A client that keeps up costs no second goroutine, and no byte of the budget remains.
func TestClientsThatKeepUpNeedNoHelper(t *testing.T) {
	t.Parallel()
	const size = mib
	s := newThrough(t, func(outer *writers, w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Has("length") {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		piece := map[string]int{"small": kib, "usual": 32 * kib, "whole": size}[q.Get("piece")]
		var next inTurn
		for next.at < size {
			if _, err := w.Write(next.take(min(piece, size-next.at))); err != nil {
				t.Error(err)
			}
			if q.Has("flush") {
				flush(w)
			}
		}
		if n := outer.others(); n > 0 {
			t.Errorf("%s: %d writes and flushes on another goroutine", r.URL, n)
		}
	})
	s.opts.Nudge = never // a busy machine makes a run pause
	eachTransport(t, s, 0, func(t *testing.T, dial func() net.Conn) {
		for _, piece := range []string{"small", "usual", "whole"} {
			for _, more := range []string{"", "&length", "&flush", "&length&flush"} {
				for _, version := range []string{"1.0", "1.1"} {
					conn := dial()
					res := answerOf(t, ask(t, conn, "?piece="+piece+more, version))
					got, err := io.ReadAll(res.Body)
					if err != nil || !bytes.Equal(got, pattern(size)) {
						t.Errorf("%s%s, HTTP/%s: %d bytes, %v", piece, more, version, len(got), err)
					}
				}
			}
		}
	})
}

// A client that takes nothing does not hold up its run, for longer than the patience of a
// stream and the time for the bytes that the kernel takes.
func TestClientsThatTakeNothingDoNotBlock(t *testing.T) {
	t.Parallel()
	const size = 2 * mib
	for name, flushes := range map[string]bool{"flushes": true, "no flushes": false} {
		for _, piece := range []int{kib, 32 * kib, size} {
			t.Run(fmt.Sprintf("%s, pieces of %d", name, piece), func(t *testing.T) {
				t.Parallel()
				ended := make(chan struct{}, 1)
				s := newThrough(t, func(_ *writers, w http.ResponseWriter, _ *http.Request) {
					var next inTurn
					for next.at < size {
						if _, err := w.Write(next.take(min(piece, size-next.at))); err != nil {
							t.Error(err)
						}
						if flushes {
							flush(w)
						}
					}
					ended <- struct{}{}
				})
				eachTransport(t, s, window, func(t *testing.T, dial func() net.Conn) {
					answer := ask(t, dial(), "", "1.1")
					<-ended // although the client has read nothing
					if used := s.budget.Usage(); used.Disk == 0 {
						t.Errorf("kept: %+v", used)
					}
					got, err := io.ReadAll(answerOf(t, answer).Body)
					if err != nil || !bytes.Equal(got, pattern(size)) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				})
			})
		}
	}
}

// The option of a socket that limits its unsent bytes counts as well as its buffer.
func TestLimitOfUnsentBytes(t *testing.T) {
	t.Parallel()
	const size = mib
	ended := make(chan struct{}, 1)
	s := newThrough(t, func(_ *writers, w http.ResponseWriter, _ *http.Request) {
		inPieces(w, size, 32*kib)
		ended <- struct{}{}
	})
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Error(err)
		}
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 64*kib)
		})
		return bridge.ConnContext(ctx, c)
	}
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := ask(t, conn, "", "1.1")
	<-ended
	got, err := io.ReadAll(answerOf(t, answer).Body)
	if err != nil || !bytes.Equal(got, pattern(size)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Events reach a client without a helper, and its departure is noticed. A client that was
// slow once costs no helper either when it has caught up.
func TestEventsNeedNoHelper(t *testing.T) {
	t.Parallel()
	const pause = 5 * nudgeAfter
	left := make(chan struct{})
	s := newThrough(t, func(outer *writers, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("burst") {
			_, _ = w.Write(pattern(mib))
			flush(w)
		}
		until := time.Now().Add(10 * time.Second)
		for quiet := 0; quiet < 3 && time.Now().Before(until); quiet++ {
			before := outer.others()
			_, _ = io.WriteString(w, "event\n")
			flush(w)
			testkit.Pause(pause)
			if outer.others() > before {
				quiet = 0
			}
		}
		if !time.Now().Before(until) {
			t.Error("the helper goes on")
		}
		left <- struct{}{}
	})
	eachTransport(t, s, window, func(t *testing.T, dial func() net.Conn) {
		for _, path := range []string{"", "?burst"} {
			res := answerOf(t, ask(t, dial(), path, "1.1"))
			read := make(chan int)
			go func() {
				all, _ := io.ReadAll(res.Body)
				read <- len(all)
			}()
			<-left
			if got := <-read; got == 0 {
				t.Error("no events")
			}
		}
	})
	t.Cleanup(func() { // when the sub-tests are over
		if s.owner.timesGoingOn() == 0 {
			t.Error("no client was watched")
		}
	})
}

// The bytes that a run leaves behind reach the client, with a helper or without.
func TestBytesLeftBehindArrive(t *testing.T) {
	t.Parallel()
	s := newThrough(t, func(_ *writers, w http.ResponseWriter, r *http.Request) {
		var next inTurn
		for _, size := range []int{1, 3 * kib, 200 * kib, 10, 40 * kib, 5 * kib} {
			_, _ = w.Write(next.take(size))
			<-released.of(fmt.Sprint(r.URL.Query().Get("name"), " left at ", next.at))
		}
	})
	eachTransport(t, s, 0, func(t *testing.T, dial func() net.Conn) {
		name := released.name()
		res := answerOf(t, ask(t, dial(), "?"+url.Values{"name": {name}}.Encode(), "1.1"))
		var all []byte
		for _, size := range []int{1, 3 * kib, 200 * kib, 10, 40 * kib, 5 * kib} {
			got := make([]byte, size)
			if _, err := io.ReadFull(res.Body, got); err != nil {
				t.Fatal(err)
			}
			all = append(all, got...)
			close(released.of(fmt.Sprint(name, " left at ", len(all))))
		}
		if !bytes.Equal(all, pattern(len(all))) {
			t.Error("the bytes differ")
		}
	})
}

// Any mix of writes, flushes and pauses of the run and of reads of the client gives the same
// bytes in their order.
func TestRandomClients(t *testing.T) {
	t.Parallel()
	const size = 600*kib - 7
	s := newThrough(t, func(_ *writers, w http.ResponseWriter, r *http.Request) {
		var seed uint64
		_, _ = fmt.Sscan(r.URL.Query().Get("seed"), &seed)
		random := rand.New(rand.NewPCG(seed, 2))
		if random.IntN(2) == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		most := []int{500, 5 * kib, 40 * kib, 300 * kib}[random.IntN(4)]
		flushes := random.IntN(20)
		var next inTurn
		for next.at < size {
			if _, err := w.Write(next.take(min(1+random.IntN(most), size-next.at))); err != nil {
				t.Error(err)
				return
			}
			if random.IntN(20) < flushes {
				flush(w)
			}
			if random.IntN(most+50) < 50 && random.IntN(10) == 0 {
				testkit.Pause(time.Duration(random.IntN(3000)) * time.Microsecond)
			}
		}
	})
	s.opts.Stream.Bounds = spool.Bounds{Memory: 150 * kib, File: mib}
	eachTransport(t, s, window, func(t *testing.T, dial func() net.Conn) {
		var clients sync.WaitGroup
		for seed := range uint64(20) {
			conn := dial()
			clients.Go(func() {
				random := rand.New(rand.NewPCG(seed, 3))
				res := answerOf(t, ask(t, conn, fmt.Sprintf("?seed=%d", seed), []string{"1.0", "1.1"}[random.IntN(2)]))
				body := bufio.NewReaderSize(res.Body, 64*kib)
				var got []byte
				piece := make([]byte, 200*kib)
				for {
					n, err := body.Read(piece[:1+random.IntN(len(piece))])
					got = append(got, piece[:n]...)
					if err != nil {
						break
					}
					if random.IntN(50) == 0 {
						testkit.Pause(time.Duration(random.IntN(20)) * time.Millisecond)
					}
				}
				if !bytes.Equal(got, pattern(size)) {
					t.Errorf("seed %d: %d bytes that differ", seed, len(got))
				}
			})
		}
		clients.Wait()
	})
}

// A connection is asked again for each response on it.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	s := newThrough(t, func(_ *writers, w http.ResponseWriter, _ *http.Request) { inPieces(w, 300*kib, 32*kib) })
	eachTransport(t, s, window, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		for range 20 {
			answer := ask(t, conn, "", "1.1")
			got, err := io.ReadAll(answerOf(t, answer).Body)
			if err != nil || !slices.Equal(got, pattern(300*kib)) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	})
}
