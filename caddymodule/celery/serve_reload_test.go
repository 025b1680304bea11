package celery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// The first request opens broker and backend once. They are closed after their last use.
func TestConnectionsOutliveReloads(t *testing.T) {
	l := newLab(t)
	l.work(2, celerytest.Echo)
	body := "handle /a {\n" + l.directive("task lab.echo\nargs 1") + "}\nhandle {\n" + l.directive("task lab.echo\nargs 2\nrevoke off") + "}"
	s := site.Serve(t, nil, body)
	if n := l.opened.Load(); n != 0 {
		t.Errorf("%d were opened before a request", n)
	}
	if n := celeryhandler.Links(); n != 1 {
		t.Errorf("there are %d links", n)
	}
	c := s.Clients()["h1"]
	for n := range 50 {
		for path, want := range map[string]string{"/a": "1", "/b": "2"} {
			if got := getAgain(t, c, "https://"+s.Addr+path); got != want {
				t.Fatalf("got %s", got)
			}
		}
		s.Load(body + fmt.Sprintf("\nheader X-Load %d", n))
	}
	if n := l.opened.Load(); n != 2 {
		t.Errorf("%d were opened, want a broker and a backend", n)
	}
	if n := celeryhandler.Links(); n != 1 || l.closed.Load() != 0 {
		t.Errorf("there are %d links, %d servers were closed", n, l.closed.Load())
	}
	s.Load("respond bye")
	testkit.Eventually(t, func() bool { return l.closed.Load() == 2 && celeryhandler.Links() == 0 })
}

// getAgain repeats a request until it gets a response: a server that a reload replaces may close
// a connection as a request arrives.
func getAgain(t *testing.T, c *http.Client, url string) (body string) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		res, err := c.Do(request(t, http.MethodGet, url, ""))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var text bytes.Buffer
		_, err = text.ReadFrom(res.Body)
		body = text.String()
		return err == nil
	})
	return body
}

// Requests that wait while their servers leave the configuration get their results, and the
// connections are closed after that.
func TestReloadLosesNoRequest(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := site.ServeGlobal(t, nil, "grace_period 1m", l.directive("task lab.slow"))
	const each = 3
	clients := s.Clients()
	var waiting sync.WaitGroup
	for _, c := range clients {
		for range each {
			waiting.Go(func() {
				if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 || body != "7" {
					t.Errorf("got %d %s", res.StatusCode, body)
				}
			})
		}
	}
	var tasks []*celery.Message
	for range each * len(clients) {
		tasks = append(tasks, l.take())
	}
	s.Load("respond bye")
	if n := l.closed.Load(); n != 0 {
		t.Errorf("%d servers were closed under %d requests", n, len(tasks))
	}
	for _, m := range tasks {
		l.report(m, celerytest.Succeed(m, "7"))
	}
	waiting.Wait()
	testkit.Eventually(t, func() bool { return l.closed.Load() == 2 && celeryhandler.Links() == 0 })
}

// A configuration that fails to load, or is only validated, opens and releases no connections.
func TestConfigurationsThatDoNotRun(t *testing.T) {
	l := newLab(t)
	l.work(1, celerytest.Echo)
	body := l.directive("task lab.echo\nargs 1")
	s := site.Serve(t, nil, body)
	c := s.Clients()["h1"]
	site.Get(t, c, "https://"+s.Addr)
	other := newLabNamed(t, "other")
	both := "handle /a {\n" + body + "}\nhandle {\n" + other.directive("task lab.echo") + "}"

	var valid caddy.Config
	if err := json.Unmarshal(s.Config(both), &valid); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&valid); err != nil {
		t.Fatal(err)
	}
	broken := bytes.Replace(s.Config(both+"\nrespond bye"), []byte(`"handler":"static_response"`), []byte(`"handler":"missing"`), 1)
	_ = s.LoadFails(broken)
	if n := other.opened.Load(); n != 0 || l.opened.Load() != 2 || l.closed.Load() != 0 || celeryhandler.Links() != 1 {
		t.Errorf("opened %d of others, %d and closed %d of this one, %d links", n, l.opened.Load(), l.closed.Load(), celeryhandler.Links())
	}
	if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

// Pending revokes are sent before the connections are closed.
func TestLastRevokesGoOut(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s := l.serve("task lab.slow")
	var m *celery.Message
	site.Leave(t, s.Clients()["h2"], "https://"+s.Addr, func() { m = l.take() })
	s.Load("respond bye")
	testkit.Eventually(t, func() bool { return slices.Contains(l.revoked(false), m.CorrelationID) })
	testkit.Eventually(t, func() bool { return l.closed.Load() == 2 })
}

// Servers that cannot be opened make requests fail, not the process.
func TestServersThatCannotBeOpened(t *testing.T) {
	s := site.Serve(t, nil, "celery {\nbroker memory://nowhere\nbackend memory://nowhere\ntask lab.echo\n}")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 2 {
			res, body := site.Get(t, c, url)
			wantRejection(t, res, body, "unavailable")
		}
	})
}

// Many requests at once, of which some leave, through reloads: every one that
// stays has its own result.
func TestStormThroughReloads(t *testing.T) {
	l := newLab(t)
	l.work(8, celerytest.Echo)
	body := l.directive("task lab.echo\nargs {query.n}")
	s := site.Serve(t, nil, body)
	var storm sync.WaitGroup
	for version, c := range s.Clients() {
		for n := range 40 {
			storm.Go(func() {
				want := fmt.Sprintf(`"%s-%d"`, version, n)
				url := fmt.Sprintf("https://%s/?n=%s-%d", s.Addr, version, n)
				if n%8 == 7 {
					left := make(chan struct{})
					close(left)
					if res, err := c.Do(request(t, http.MethodGet, url, "").WithContext(leaving(t, left))); err == nil {
						res.Body.Close()
					}
					return
				}
				res, err := c.Do(request(t, http.MethodGet, url, ""))
				if err != nil {
					return // a connection may end between two requests when its server is replaced
				}
				defer res.Body.Close()
				var got bytes.Buffer
				if _, err := got.ReadFrom(res.Body); err != nil || res.StatusCode != 200 || got.String() != want {
					t.Errorf("got %d %s %v, want %s", res.StatusCode, got.String(), err, want)
				}
			})
		}
	}
	for n := range 5 {
		s.Load(body + fmt.Sprintf("\nheader X-Load %d", n))
	}
	storm.Wait()
	testkit.Eventually(t, func() bool { return l.Watching() == 0 })
}
