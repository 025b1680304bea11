package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// upgradeSite has room for one request in its pool, and an upstream that can do
// all that tests of upgrades need.
func upgradeSite(t *testing.T, words string) (*site.Site, *tunnels) {
	t.Helper()
	u := &tunnels{admin: site.FreeAddr(t), hold: make(chan struct{})}
	s := site.ServeGlobal(t, u, "admin "+u.admin, "offload {\nname upgrades\nconcurrency 1\nqueue 0\nbreaker off\n"+words+"\n}\n"+kit.StateRoute+"reverse_proxy UPSTREAM")
	tunnelsEnd(t)
	return s, u
}

// refused asks for a tunnel that is not given and returns the answer.
func refused(t *testing.T, s *site.Site, c *http.Client, path string) *http.Response {
	t.Helper()
	conn, res, err := websocket.Dial(kit.Soon(t), "https://"+s.Addr+path, &websocket.DialOptions{HTTPClient: c})
	if err == nil {
		conn.CloseNow()
		t.Fatal("the tunnel was given")
	}
	if res == nil {
		t.Fatal(err)
	}
	return res
}

// An open tunnel is no longer in the pool: its permit is for others, any number
// of times, and at its end nothing is left.
func TestUpgradesPassThePool(t *testing.T) {
	s, _ := upgradeSite(t, "upgrades pass")
	for version, c := range upgraders(t, s) {
		if version == "h2" {
			continue // see TestUpgradeExtendedConnectHTTP2
		}
		t.Run(version, func(t *testing.T) {
			var open []*websocket.Conn
			for range 5 {
				open = append(open, dialWS(t, s, c, "/echo"))
				kit.Idle(t, s)
			}
			for i, conn := range open {
				echoes(t, conn, websocket.MessageText, fmt.Sprint(i))
				conn.CloseNow()
			}
			kit.Idle(t, s)
		})
	}
}

// A tunnel that holds its permit does so until its end, whichever side ends it.
func TestUpgradesHoldTheirPermit(t *testing.T) {
	s, u := upgradeSite(t, "upgrades hold")
	for version, c := range upgraders(t, s) {
		if version == "h2" {
			continue
		}
		t.Run(version, func(t *testing.T) {
			conn := dialWS(t, s, c, "/echo")
			echoes(t, conn, websocket.MessageText, "hello")
			if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/state"); res.StatusCode != 503 {
				t.Errorf("got %d beside the tunnel", res.StatusCode)
			}
			res := refused(t, s, c, "/echo")
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("a second tunnel got %d %v", res.StatusCode, res.Header)
			}
			conn.CloseNow() // the client dies
			kit.Idle(t, s)

			conn = dialWS(t, s, c, "/dies")
			conn.Write(kit.Soon(t), websocket.MessageText, []byte("die"))
			kit.Idle(t, s)
			testkit.Eventually(t, func() bool { return u.Now.Load() == 0 }) // its handler ends after its connection
		})
	}
}

// The handshake takes a permit like any other request, and waits for it.
func TestUpgradesWaitTheirTurn(t *testing.T) {
	u := &tunnels{hold: make(chan struct{})}
	s := site.Serve(t, u, "offload {\nname waits\nconcurrency 1\nqueue 1\n}\ngate\nreverse_proxy UPSTREAM")
	tunnelsEnd(t)
	c := upgraders(t, s)["h1"]
	first := make(chan error, 1)
	go func() { // holds the permit in its handshake
		_, _, err := websocket.Dial(kit.Soon(t), "https://"+s.Addr+"/never", &websocket.DialOptions{HTTPClient: c})
		first <- err
	}()
	testkit.Eventually(t, func() bool { return u.Now.Load() == 1 })
	second := make(chan *websocket.Conn)
	go func() { second <- dialWS(t, s, c, "/echo") }()
	testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 2 })
	testkit.Quiet(100 * time.Millisecond)
	if u.Total.Load() != 1 {
		t.Errorf("the upstream saw %d handshakes", u.Total.Load())
	}
	close(u.hold)
	if err := <-first; err == nil {
		t.Error("the first got a tunnel")
	}
	echoes(t, <-second, websocket.MessageText, "my turn")
}

// Tunnels work the same with every on_abandon.
func TestUpgradesWithEveryAbandon(t *testing.T) {
	for _, words := range []string{"on_abandon finish", "on_abandon cancel", "on_abandon finish\nupgrades hold", "on_abandon cancel\nupgrades hold"} {
		t.Run(words, func(t *testing.T) {
			s, _ := upgradeSite(t, words)
			for version, c := range upgraders(t, s) {
				if version == "h2" {
					continue
				}
				conn := dialWS(t, s, c, "/echo")
				echoes(t, conn, websocket.MessageText, "hello")
				testkit.Quiet(20 * time.Millisecond) // a response is watched by now
				echoes(t, conn, websocket.MessageText, "still there")
				conn.CloseNow()
				kit.Idle(t, s)
			}
		})
	}
}

// A client that leaves in the middle of its handshake gets no tunnel, and an upstream
// that accepts it later gets a closed connection.
func TestUpgradesOfClientsThatLeave(t *testing.T) {
	for _, words := range []string{"upgrades pass", "upgrades hold"} {
		t.Run(words, func(t *testing.T) {
			s, u := upgradeSite(t, words)
			for version, c := range upgraders(t, s) {
				if version == "h2" {
					continue
				}
				ctx, cancel := context.WithCancel(t.Context())
				left := make(chan struct{})
				go func() {
					defer close(left)
					if conn, _, err := websocket.Dial(ctx, "https://"+s.Addr+"/late", &websocket.DialOptions{HTTPClient: c}); err == nil {
						conn.CloseNow()
						t.Error("it got its tunnel")
					}
				}()
				testkit.Eventually(t, func() bool { return u.Now.Load() == 1 })
				cancel()
				<-left
				kit.Until(t, u.admin, "upgrades", kit.Pool{Running: 1, Abandoned: 1})
				u.hold <- struct{}{}
				testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
				kit.Idle(t, s)
			}
		})
	}
}

// first_byte_timeout limits the handshake. run_timeout ends with the upgrade, since the
// length of a tunnel is not limited, unless it holds its permit.
func TestUpgradeTimeouts(t *testing.T) {
	for words, lasts := range map[string]bool{"upgrades pass": true, "upgrades hold": false} {
		t.Run(words, func(t *testing.T) {
			s, u := upgradeSite(t, words+"\nfirst_byte_timeout 1s\nrun_timeout 1s\nabandon_timeout 300ms")
			for version, c := range upgraders(t, s) {
				if version == "h2" {
					continue
				}
				if res := refused(t, s, c, "/never"); res.StatusCode != 504 {
					t.Errorf("%s: got %d from an upstream that does not answer", version, res.StatusCode)
				}
				testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
				conn := dialWS(t, s, c, "/echo")
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if _, _, err := conn.Read(ctx); errors.Is(err, context.DeadlineExceeded) != lasts {
					t.Errorf("%s: after the run timeout the tunnel says %v", version, err)
				}
				kit.Idle(t, s)
			}
		})
	}
}

// An Upgrade field that the upstream ignores makes no tunnel: the response is
// spooled, so that a slow reader holds no permit, and the timeouts of a run hold.
func TestUpgradeThatIsIgnored(t *testing.T) {
	s, u := upgradeSite(t, "run_timeout 2s\nabandon_timeout 300ms")
	c := s.Clients()["h1"]
	ask := func(path string) *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr+path, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := ask("/large")
	defer res.Body.Close()
	testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
	kit.Idle(t, s) // the client has read no byte of 8 MiB
	if n, err := io.Copy(io.Discard, res.Body); n != 8<<20 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}

	res = ask("/trickle")
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "begin" || err == nil {
		t.Errorf("got %q, %v, want a cut by the run timeout", body, err)
	}
	kit.Idle(t, s)
}

// Tunnels end at a reload, or when stream_close_delay has passed, as without
// offload. With permits held they stay in the pool as long as they last.
func TestUpgradeAtReload(t *testing.T) {
	kit.BesidesCaddysRaces(t, checkReloads)
}

func checkReloads(t *testing.T) {
	for delay, lasts := range map[string]bool{"": false, "stream_close_delay 1m": true} {
		for _, words := range []string{"", "offload {\nname reload\nconcurrency 1\nqueue 0\n}", "offload {\nname reload\nconcurrency 1\nqueue 0\nupgrades hold\n}"} {
			t.Run(delay+" "+words, func(t *testing.T) { checkReload(t, words, delay, lasts) })
		}
	}
}

func checkReload(t *testing.T, words, delay string, lasts bool) {
	u := &tunnels{hold: make(chan struct{})}
	s := site.Serve(t, u, words+kit.StateRoute+"reverse_proxy UPSTREAM {\n"+delay+"\n}")
	tunnelsEnd(t)
	conn := dialWS(t, s, upgraders(t, s)["h1"], "/echo")
	echoes(t, conn, websocket.MessageText, "before")
	s.Load("header X-Reloaded yes\n" + words + kit.StateRoute + "respond reloaded")
	if lasts {
		echoes(t, conn, websocket.MessageText, "after")
		if strings.Contains(words, "hold") {
			if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/state"); res.StatusCode != 503 {
				t.Errorf("got %d beside a tunnel of before", res.StatusCode)
			}
		}
		conn.CloseNow()
	} else if _, _, err := conn.Read(kit.Soon(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want the end of a server that goes away", err)
	}
	testkit.Eventually(t, func() bool { return u.Now.Load() == 0 })
	if words != "" {
		kit.Idle(t, s)
	}
}
