package upgrade

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// tunnels is the upstream of the tests of upgrades.
type tunnels struct {
	site.Counter
	mu    sync.Mutex
	ended []websocket.StatusCode // how those on /echo have ended
	admin string                 // address of the admin endpoint
	hold  chan struct{}          // lets /never and /late go on
}

func (u *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.Enter()
	defer u.Leave()
	word, arg, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch word {
	case "never":
		select {
		case <-u.hold:
		case <-r.Context().Done():
		}
	case "large": // takes no notice of the Upgrade field, like the rest
		w.Write(make([]byte, 8<<20))
	case "trickle":
		io.WriteString(w, "begin")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "late":
		<-u.hold
		u.tunnel(w, r, word, arg)
	default:
		u.tunnel(w, r, word, arg)
	}
}

func (u *tunnels) tunnel(w http.ResponseWriter, r *http.Request, word, arg string) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	switch word {
	case "closes":
		code, _ := strconv.Atoi(arg)
		c.Close(websocket.StatusCode(code), "because")
	case "dies":
		c.Read(r.Context()) // ends without a closing handshake after the first message
	case "pings":
		done := c.CloseRead(context.Background())
		err := c.Ping(done)
		c.Write(done, websocket.MessageText, fmt.Append(nil, err))
		<-done.Done()
	default:
		u.echo(c)
	}
}

func (u *tunnels) echo(c *websocket.Conn) {
	for {
		kind, text, err := c.Read(context.Background())
		if err != nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.ended = append(u.ended, websocket.CloseStatus(err))
			return
		}
		if c.Write(context.Background(), kind, text) != nil {
			return
		}
	}
}

// lastEnd is how the last tunnel of /echo has ended.
func (u *tunnels) lastEnd() websocket.StatusCode {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ended) == 0 {
		return 0
	}
	return u.ended[len(u.ended)-1]
}

// extended makes WebSockets of extended CONNECT requests (RFC 8441, RFC 9220).
// The client library supports those of HTTP/1.1 only, so it is shown one.
type extended struct {
	http.RoundTripper
	mark func(*http.Request)
}

// RoundTrip opens the tunnel.
func (e extended) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Header.Get("Sec-WebSocket-Key")
	body, writer := io.Pipe()
	req = req.Clone(req.Context())
	req.Method, req.Body, req.ContentLength = http.MethodConnect, body, -1
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key", "Sec-WebSocket-Key"} {
		req.Header.Del(name)
		delete(req.Header, name)
	}
	e.mark(req)
	res, err := e.RoundTripper.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	res.StatusCode = http.StatusSwitchingProtocols
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	res.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	res.Body = struct {
		io.Reader
		io.Writer
		io.Closer
	}{res.Body, writer, closers{res.Body, writer}}
	return res, nil
}

type closers [2]io.Closer

func (c closers) Close() error {
	_ = c[1].Close()
	return c[0].Close()
}

// upgraders are the ways to a tunnel on a site. That of HTTP/2 is not there unless
// the process was started for it.
func upgraders(t *testing.T, s *site.Site) map[string]*http.Client {
	clients := s.Clients()
	h2 := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:staticcheck // that of net/http does not know :protocol
	t.Cleanup(h2.CloseIdleConnections)                                             //nolint:staticcheck // as above
	clients["h2"].Transport = extended{h2, func(req *http.Request) { req.Header[":protocol"] = []string{"websocket"} }}
	clients["h3"].Transport = extended{clients["h3"].Transport, func(req *http.Request) { req.Proto = "websocket" }}
	return clients
}

// dialWS opens a WebSocket, with time for what comes.
func dialWS(t *testing.T, s *site.Site, c *http.Client, path string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(kit.Soon(t), "https://"+s.Addr+path, &websocket.DialOptions{
		HTTPClient: c, Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// echoes sends a message and wants it back.
func echoes(t *testing.T, c *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- c.Write(kit.Soon(t), kind, []byte(text)) }()
	gotKind, got, err := c.Read(kit.Soon(t))
	if err != nil || gotKind != kind || string(got) != text {
		t.Fatalf("got %d bytes of kind %v, %v, want %d of kind %v", len(got), gotKind, err, len(text), kind)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// tunnelsEnd makes sure at the end of a test that no tunnel is open when Caddy stops.
func tunnelsEnd(t *testing.T) {
	t.Cleanup(func() { testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 0 }) })
}
