package upgrade

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// halfConn is one end of a tunnel of any bytes.
type halfConn interface {
	net.Conn
	CloseWrite() error
}

// halfCloser is an upstream that answers a tunnel when its client has sent all, or ends its
// half first.
func halfCloser(w http.ResponseWriter, r *http.Request) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
	if r.URL.Path == "/first" {
		io.WriteString(conn, "that is all")
		conn.(halfConn).CloseWrite()
		io.Copy(io.Discard, buf) // the part that passes plain Caddy now is chance
		return
	}
	n, err := io.Copy(io.Discard, buf)
	fmt.Fprintf(conn, "got %d, %v", n, err)
}

// tunnelOf asks for a tunnel of bytes and returns its end.
func tunnelOf(t *testing.T, addr string, secure bool, path string) (halfConn, *bufio.Reader) {
	t.Helper()
	plain, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := plain.(halfConn)
	if secure {
		conn = tls.Client(plain, &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", res, err)
	}
	return conn, br
}

// An end of a tunnel that closes its half still receives from the other, as far as it does
// through plain Caddy.
func TestUpgradeHalfClose(t *testing.T) {
	plain, offloaded := site.ServeTwins(t, http.HandlerFunc(halfCloser), "", "offload {\nname half\nconcurrency 1\nqueue 0\n}", `
	OFFLOAD
	`+kit.StateRoute+`
	reverse_proxy UPSTREAM`)
	tunnelsEnd(t)
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("secure=%v", secure), func(t *testing.T) {
			want := halfClose(t, plain, secure)
			if !strings.HasPrefix(want, "got 1048576, <nil>") {
				t.Errorf("without offload: %s", want)
			}
			if got := halfClose(t, offloaded, secure); got != want {
				t.Errorf("with offload: %s\nwithout: %s", got, want)
			}
		})
	}
	kit.Idle(t, offloaded)
}

// halfClose plays both orders of the ends and returns the bytes that each received.
func halfClose(t *testing.T, s *site.Site, secure bool) string {
	addr := s.Clear
	if secure {
		addr = s.Addr
	}
	conn, br := tunnelOf(t, addr, secure, "/last")
	conn.Write(make([]byte, 1<<20))
	conn.CloseWrite()
	answer, err := io.ReadAll(br)

	conn, br = tunnelOf(t, addr, secure, "/first")
	first, firstErr := io.ReadAll(br)
	conn.CloseWrite()
	return fmt.Sprintf("%s %v; %s %v", answer, err, first, firstErr)
}
