package leave

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// leaver is a client that can leave.
type leaver struct {
	*http.Client
	url  string
	cut  func() // ends its connection; nil to end its request alone
	kind string
}

// leavers are one for each way to leave: on HTTP/1 a request ends with its
// connection, later versions can end it alone.
func leavers(t *testing.T, s *site.Site) []*leaver {
	clients := s.Clients()
	var all []*leaver
	for _, kind := range []string{"h1", "h2", "h3"} {
		all = append(all, &leaver{Client: clients[kind], kind: kind})
	}
	var conn atomic.Value // of net.Conn
	h2 := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"},
		ForceAttemptHTTP2: true,
		DisableKeepAlives: true, // it may not have noticed yet that its last connection was cut
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				conn.Store(c)
			}
			return c, err
		},
	}
	t.Cleanup(h2.CloseIdleConnections)
	var quicConn atomic.Pointer[quic.Conn]
	h3 := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"},
		Dial: func(ctx context.Context, addr string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			c, err := quic.DialAddr(ctx, addr, config, quicConfig)
			quicConn.Store(c)
			return c, err
		},
	}
	t.Cleanup(func() { h3.Close() })
	all = append(all,
		&leaver{Client: &http.Client{Transport: h2}, kind: "h2 connection", cut: func() { conn.Load().(net.Conn).Close() }},
		&leaver{Client: &http.Client{Transport: h3}, kind: "h3 connection", cut: func() { quicConn.Load().CloseWithError(0, "") }})
	for _, l := range all {
		l.url = "https://" + s.Addr
	}
	return all
}

// visit is one request of a leaver.
type visit struct {
	body io.WriteCloser // body of the request
	left func()         // makes it leave and waits until it has
	head chan error     // of the answer: whether it has come
}

// send starts a request whose body the caller writes.
func (l *leaver) send(t *testing.T, path string) *visit {
	ctx, cancel := context.WithCancel(t.Context())
	body, writer := io.Pipe()
	v := &visit{body: writer, head: make(chan error, 1)}
	done := make(chan struct{})
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, l.url+path, body)
	go func() {
		defer close(done)
		res, err := l.Do(req)
		v.head <- err
		if err != nil {
			return
		}
		defer res.Body.Close()
		<-ctx.Done()
	}()
	v.left = func() {
		if l.cut != nil {
			l.cut()
		}
		cancel()
		writer.CloseWithError(context.Canceled)
		<-done
	}
	return v
}

// ask starts a request with a whole body.
func (l *leaver) ask(t *testing.T, path string) *visit {
	v := l.send(t, path)
	go func() {
		io.WriteString(v.body, strings.Repeat("body", 50_000)) // more than the spool keeps in memory
		v.body.Close()
	}()
	return v
}

// nothingLeft waits until nothing of any request is left: no goroutine in our code
// and no file in the spool's folder, removed ones included.
func nothingLeft(t *testing.T, folder string) {
	t.Helper()
	testkit.Eventually(t, func() bool { return len(openFiles(folder)) == 0 && len(ownGoroutines()) == 0 })
}

// ownGoroutines returns the stacks of the goroutines that are in code of offload.
func ownGoroutines() []string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var own []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "/caddymodule.(") || strings.Contains(stack, "/caddymodule/internal/") {
			own = append(own, stack)
		}
	}
	return own
}

// openFiles returns the files of a folder that this process has open.
func openFiles(folder string) []string {
	links, _ := filepath.Glob("/proc/self/fd/*")
	var open []string
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && strings.HasPrefix(name, folder) {
			open = append(open, name)
		}
	}
	return open
}
