package caddymodule_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A pool that a reload renames gets the part of the limit that the runs of the old pool do
// not use, and all of it when these have ended.
func TestRenamedPoolsShareTheirLimit(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	const config = "offload {\n name %s\n concurrency 2\n max_wait off\n }\n reverse_proxy UPSTREAM"
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-work
		}
		echoBody(w, r)
	}), fmt.Sprintf(config, "renamed_from"))
	c := s.Clients()["h1"]
	url := "https://" + s.Addr
	held := []*asked{ask(t, c, url+"/hold"), ask(t, c, url+"/hold")}
	o.eventually("renamed_from", func(p object) bool { return p["running"] == 2.0 })
	waiter, up := ask(t, c, url), beginUpload(t, c, url)
	o.eventually("renamed_from", func(p object) bool { return p["waiting"] == 1.0 && p["uploading"] == 1.0 })
	s.Load(fmt.Sprintf(config, "renamed_to"))
	o.eventually("renamed_to", func(p object) bool {
		return p["limit"] == 0.0 && p["lent"] == 2.0 && p["running"] == 0.0 && p["predecessors"] == 4.0
	})
	loadFor := s.Clients()["h2"]
	next := ask(t, loadFor, url)
	o.untilWaiting("renamed_to", 1)
	if p := o.do(http.MethodPost, "pools/{name}/drain", "renamed_to", `{"wait": "10ms"}`, 202); p["predecessors"] != 4.0 {
		t.Errorf("the pool is %v", p)
	}
	o.post("pools/{name}/resume", "renamed_to", "")
	release()
	for _, a := range append(held, waiter, next) {
		a.want(t, 200)
	}
	o.eventually("renamed_to", func(p object) bool { return p["limit"] == 2.0 && p["lent"] == 0.0 && p["predecessors"] == 1.0 })
	up.end()
	up.wantEcho(t)
	o.eventually("renamed_to", func(p object) bool { return p["predecessors"] == 0.0 })
}

// However often a pool gets another name under load, no request is lost and the backend
// never gets more than the limit.
func TestRenamesUnderLoad(t *testing.T) {
	var backend site.Counter
	const config = "offload {\n name pool%d\n concurrency 3\n queue 1000\n max_wait off\n }\n reverse_proxy UPSTREAM"
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		backend.Enter()
		defer backend.Leave()
		testkit.Pause(10 * time.Millisecond)
		echoBody(w, r)
	}), fmt.Sprintf(config, 0))
	done := make(chan struct{})
	var clients sync.WaitGroup
	for _, c := range s.Clients() {
		for range 4 {
			clients.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					body, writer := io.Pipe()
					go func() {
						io.WriteString(writer, "one,")
						testkit.Pause(20 * time.Millisecond)
						io.WriteString(writer, "two")
						writer.Close()
					}()
					res, err := c.Post("https://"+s.Addr, "text/plain", body)
					if err != nil {
						continue // its connection was just closed by the reload
					}
					text, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode != 200 || string(text) != "one,two" {
						t.Errorf("got %d %q", res.StatusCode, text)
					}
				}
			})
		}
	}
	runSome := func() {
		before := backend.Total.Load()
		testkit.Eventually(t, func() bool { return backend.Total.Load() > before+40 })
	}
	for n := range 8 {
		runSome()
		s.Load(fmt.Sprintf(config, n+1))
	}
	runSome()
	close(done)
	clients.Wait()
	if got := backend.Most.Load(); got != 3 {
		t.Errorf("the backend saw %d requests at once, want up to 3", got)
	}
	testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
}

// The successor of a pool is found by the handlers behind it, in any form of
// configuration.
func TestSuccessorsAreFound(t *testing.T) {
	const proxy = "\nreverse_proxy UPSTREAM"
	for name, of := range map[string]struct {
		older, newer, heir string
		lent               float64
	}{
		"another name":            {"offload {\n name a\n }" + proxy, "offload {\n name b\n }" + proxy, "b", 1},
		"a pool of the app":       {"offload {\n name a\n }" + proxy, "offload shared" + proxy, "shared", 1},
		"within handle":           {"offload {\n name a\n }" + proxy, "handle {\n offload {\n name b\n }" + proxy + "\n }", "b", 1},
		"within route, headers":   {"offload {\n name a\n }" + proxy, "route {\n offload {\n name b\n }\n header X y" + proxy + "\n }", "b", 1},
		"another backend":         {"offload {\n name a\n }" + proxy, "handle /other {\n offload {\n name b\n }\n reverse_proxy 127.0.0.1:1\n }" + proxy, "b", 0},
		"behind an authorization": {"offload {\n name a\n }" + proxy, "offload {\n name b\n }\n forward_auth 127.0.0.1:1 {\n uri /\n }" + proxy, "b", 1},
		"the same authorization": {
			"offload {\n name a\n }" + proxy,
			"handle /other {\n offload {\n name b\n }\n forward_auth UPSTREAM {\n uri /\n }\n reverse_proxy 127.0.0.1:1\n }" + proxy, "b", 0,
		},
		"nothing known, one place": {"offload {\n name a\n }\n behind WAITS", "offload {\n name b\n }\n behind WAITS", "b", 1},
		"the next of two": {
			"handle /x {\n offload {\n name x\n }" + proxy + "\n }\nhandle {\n offload {\n name a\n }" + proxy + "\n }",
			"handle /x {\n offload {\n name y\n }" + proxy + "\n }\nhandle {\n offload {\n name b\n }" + proxy + "\n }", "b", 1,
		},
		"two become one": {
			"handle /x {\n offload {\n name x\n }" + proxy + "\n }\nhandle {\n offload {\n name a\n }" + proxy + "\n }",
			"offload {\n name b\n }" + proxy, "b", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			work := make(chan struct{})
			release := sync.OnceFunc(func() { close(work) })
			defer release()
			waits := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error { <-work; return nil })
			fill := strings.NewReplacer("behind WAITS", waits).Replace
			s, o := serveOperatedWith(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-work }),
				"offload {\n pool shared\n }", fill(of.older))
			held := ask(t, s.Clients()["h1"], "https://"+s.Addr)
			o.eventually("a", func(p object) bool { return p["running"] == 1.0 })
			s.Load(fill(of.newer))
			if p := o.get("pools/{name}", of.heir); p["lent"] != of.lent {
				t.Errorf("%v permits are lent, want %v", p["lent"], of.lent)
			}
			release()
			held.want(t, 200)
		})
	}
}

// A pool that comes back while requests are still in the one that was removed shares
// its limit with these; a configuration that fails in between changes nothing.
func TestPoolThatComesBack(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	const config = "offload {\n name back\n concurrency 1\n max_wait off\n }\n reverse_proxy UPSTREAM"
	s, o := serveOperated(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-work
		}
	}), config)
	url := "https://" + s.Addr
	held := ask(t, s.Clients()["h1"], url+"/hold")
	o.eventually("back", func(p object) bool { return p["running"] == 1.0 })
	s.Load("respond nothing")
	fails := strings.Replace(string(s.Config(config)), `"apps":{`, `"apps":{"offload_test_fails":{},`, 1)
	for range 5 { // apps start in random order
		if err := s.LoadFails([]byte(fails)); !strings.Contains(err.Error(), "bad start") {
			t.Fatalf("got %v", err)
		}
	}
	s.Load(config)
	o.eventually("back", func(p object) bool { return p["limit"] == 0.0 && p["lent"] == 1.0 })
	next := ask(t, s.Clients()["h2"], url)
	o.untilWaiting("back", 1)
	release()
	held.want(t, 200)
	next.want(t, 200)
	o.eventually("back", func(p object) bool { return p["limit"] == 1.0 && p["lent"] == 0.0 })
}

// failsToStart is an app that fails to start.
type failsToStart struct{}

func (failsToStart) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload_test_fails", New: func() caddy.Module { return new(failsToStart) }}
}

func (*failsToStart) Start() error { return errors.New("bad start") }
func (*failsToStart) Stop() error  { return nil }

func init() { caddy.RegisterModule(failsToStart{}) }

// A configuration that names the pool differently and fails to start leaves it as it
// was, requests and all.
func TestFailedRenameChangesNothing(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	const config = "offload {\n name %s\n concurrency %d\n max_wait off\n }\n reverse_proxy UPSTREAM"
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-work
		}
		echoBody(w, r)
	}), fmt.Sprintf(config, "stays", 2))
	c, url := s.Clients()["h2"], "https://"+s.Addr
	held, up := ask(t, c, url+"/hold"), beginUpload(t, c, url)
	o.eventually("stays", func(p object) bool { return p["running"] == 1.0 && p["uploading"] == 1.0 })
	fails := strings.Replace(string(s.Config(fmt.Sprintf(config, "fails", 1))), `"apps":{`, `"apps":{"offload_test_fails":{},`, 1)
	for range 5 { // apps start in random order
		if err := s.LoadFails([]byte(fails)); !strings.Contains(err.Error(), "bad start") {
			t.Fatalf("got %v", err)
		}
	}
	if p := o.get("pools/{name}", "stays"); p["limit"] != 2.0 || p["running"] != 1.0 || p["uploading"] != 1.0 {
		t.Errorf("the pool is %v", p)
	}
	up.end()
	up.wantEcho(t)
	release()
	held.want(t, 200)
}
