package upgrade

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A tunnel carries all bytes in both directions, and its end from either side.
func TestUpgradeWebSocket(t *testing.T) {
	checkTunnels(t, "h1", "h3")
}

// Go's servers offer tunnels over HTTP/2 only if an environment variable asks for it when
// the process starts.
func TestUpgradeExtendedConnectHTTP2(t *testing.T) {
	kit.InProcessWith(t, "GODEBUG=http2xconnect=1", func(t *testing.T) { checkTunnels(t, "h2") })
}

func checkTunnels(t *testing.T, versions ...string) {
	u := &tunnels{hold: make(chan struct{})}
	plain, offloaded := site.ServeTwins(t, u, "", "offload {\nname tunnels\nconcurrency 1\nqueue 0\nrun_timeout 1s\nfirst_byte_timeout 1s\n}", `
	OFFLOAD
	`+kit.StateRoute+`
	reverse_proxy UPSTREAM`)
	tunnelsEnd(t)
	for name, s := range map[string]*site.Site{"plain": plain, "offload": offloaded} {
		for _, version := range versions {
			c := upgraders(t, s)[version]
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Run("echo", func(t *testing.T) { checkEcho(t, u, s, c) })
				t.Run("pings", func(t *testing.T) { checkPings(t, s, c) })
				t.Run("closes", func(t *testing.T) { checkCloses(t, s, c) })
				t.Run("leaves", func(t *testing.T) { checkLeaves(t, u, s, c) })
			})
		}
	}
	kit.Idle(t, offloaded)
}

func checkEcho(t *testing.T, u *tunnels, s *site.Site, c *http.Client) {
	conn := dialWS(t, s, c, "/echo")
	if got := conn.Subprotocol(); got != "chat" {
		t.Errorf("the protocol is %q", got)
	}
	echoes(t, conn, websocket.MessageText, "hello")
	echoes(t, conn, websocket.MessageText, "")
	echoes(t, conn, websocket.MessageBinary, strings.Repeat("\x00\xff", 4<<20))
	for range 100 {
		echoes(t, conn, websocket.MessageText, "again")
	}
	if err := conn.Close(4321, "enough"); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
	if code := u.lastEnd(); code != 4321 {
		t.Errorf("the upstream got %v", code)
	}
}

func checkPings(t *testing.T, s *site.Site, c *http.Client) {
	conn := dialWS(t, s, c, "/echo")
	reads := conn.CloseRead(kit.Soon(t)) // else the pong would not be read
	if err := conn.Ping(kit.Soon(t)); err != nil {
		t.Error(err)
	}
	conn.CloseNow()
	<-reads.Done()
	conn = dialWS(t, s, c, "/pings")
	if _, text, err := conn.Read(kit.Soon(t)); err != nil || string(text) != "<nil>" {
		t.Errorf("the upstream's ping: %s, %v", text, err)
	}
}

func checkCloses(t *testing.T, s *site.Site, c *http.Client) {
	for _, code := range []string{"1000", "1001", "1011", "4000"} {
		_, _, err := dialWS(t, s, c, "/closes/"+code).Read(kit.Soon(t))
		var closed websocket.CloseError
		if !errors.As(err, &closed) || strconv.Itoa(int(closed.Code)) != code || closed.Reason != "because" {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

// If one end of a tunnel dies, the other end is closed.
func checkLeaves(t *testing.T, u *tunnels, s *site.Site, c *http.Client) {
	conn := dialWS(t, s, c, "/echo")
	echoes(t, conn, websocket.MessageText, "hello")
	conn.CloseNow()
	testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })

	conn = dialWS(t, s, c, "/dies")
	if err := conn.Write(kit.Soon(t), websocket.MessageText, []byte("die")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(kit.Soon(t)); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("got %v, want an end without a word", err)
	}
	testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
}
