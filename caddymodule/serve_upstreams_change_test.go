package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// source is a module of dynamic upstreams: those of a test.
type source struct{}

var sourced struct {
	mu   sync.Mutex
	list []string
}

func setSource(all []*replica) {
	sourced.mu.Lock()
	defer sourced.mu.Unlock()
	sourced.list = strings.Fields(addresses(all))
}

func init() { caddy.RegisterModule(source{}) }

func (source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.of_a_test", New: func() caddy.Module { return new(source) }}
}

func (*source) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*source) GetUpstreams(*http.Request) (all []*reverseproxy.Upstream, err error) {
	sourced.mu.Lock()
	defer sourced.mu.Unlock()
	for _, address := range sourced.list {
		all = append(all, &reverseproxy.Upstream{Dial: address})
	}
	return all, nil
}

// A dynamic list changes with the requests.
func TestUpstreamsAreDynamic(t *testing.T) {
	all := replicas(t, 3, time.Millisecond)
	setSource(all[:1])
	s := site.Serve(t, nil, balanced(nil, "upstream_concurrency 2", "", "dynamic of_a_test"))
	c := s.Clients()["h1"]
	allOK(t, crowd(t, c, "https://"+s.Addr, 20, 200))
	setSource(all)
	allOK(t, crowd(t, c, "https://"+s.Addr, 20, 400))
	wantMost(t, map[*replica]int64{all[0]: 2, all[1]: 2, all[2]: 2})
	before := all[0].Total.Load()
	setSource(all[1:])
	allOK(t, crowd(t, c, "https://"+s.Addr, 20, 200))
	if n := all[0].Total.Load() - before; n > 1 {
		t.Errorf("an upstream that is not in the list has got %d requests", n)
	}
}

// Waiters learn of a new list although no upstream of the last one is available.
func TestDynamicUpstreamsAreReplaced(t *testing.T) {
	all := replicas(t, 2, 0)
	setSource(all[:1])
	s := site.Serve(t, nil, balanced(nil, "upstream_concurrency 2\n max_wait 3s", "", "dynamic of_a_test\n fail_duration 1h"))
	c := s.Clients()["h1"]
	all[0].kill()
	if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %d, want 503 at the end of the wait", res.StatusCode)
	}
	setSource(all[1:])
	allOK(t, crowd(t, c, "https://"+s.Addr, 4, 20))
}

// Requests wait while no upstream is available, and are served as soon as one is again.
func TestRequestsWaitForAvailableUpstreams(t *testing.T) {
	for name, checks := range map[string]string{
		"active":  "health_uri /health\n health_interval 100ms",
		"passive": "fail_duration 300ms",
	} {
		t.Run(name, func(t *testing.T) {
			all := replicas(t, 1, 0)
			s, o := serveOperated(t, nil, balanced(all, "upstream_concurrency 2", "", checks))
			c := s.Clients()["h1"]
			if name == "active" {
				all[0].setHealth(500)
				checked := all[0].checks.Load()
				testkit.Eventually(t, func() bool { return all[0].checks.Load() > checked+6 }) // two servers check it
			} else {
				all[0].kill()
				if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != http.StatusBadGateway {
					t.Fatalf("got %d, want 502", res.StatusCode)
				}
				all[0].start(t)
			}
			var answers []<-chan *http.Response
			for range 5 {
				answers = append(answers, start(t, c, "https://"+s.Addr))
			}
			if name == "active" {
				o.eventually("balanced", func(p object) bool { return p["waiting"] == 5.0 })
				all[0].setHealth(200)
			}
			for _, answer := range answers {
				if res := testkit.Receive(t, answer); res == nil || res.StatusCode != 200 {
					t.Errorf("got %v", res)
				}
			}
		})
	}
}

// The runs of an upstream that a reload removes go on, and requests that wait are served by
// the new ones.
func TestUpstreamsChangeWithAReload(t *testing.T) {
	all := replicas(t, 2, 0)
	release := held(all[:1])
	s, o := serveOperatedWith(t, nil, longGrace, balanced(all[:1], "upstream_concurrency 1", "", ""))
	c := s.Clients()["h2"]
	first := start(t, c, "https://"+s.Addr)
	testkit.Eventually(t, func() bool { return all[0].Now.Load() == 1 })
	old := start(t, c, "https://"+s.Addr)
	o.eventually("balanced", func(p object) bool { return p["waiting"] == 1.0 })
	s.Load(balanced(all[1:], "upstream_concurrency 1", "", ""))
	allOK(t, crowdAfterReload(t, s, 5, 20))
	if got := now(all); !slices.Equal(got, []int64{1, 0}) {
		t.Errorf("the upstreams have %v requests", got)
	}
	close(release)
	for _, answer := range []<-chan *http.Response{first, old} {
		if res := testkit.Receive(t, answer); res == nil || res.StatusCode != 200 {
			t.Errorf("got %v", res)
		}
	}
	wantMost(t, map[*replica]int64{all[0]: 1, all[1]: 1})
}

// crowdAfterReload is crowd without requests whose connections the reload has cut.
func crowdAfterReload(t *testing.T, s *site.Site, clients, requests int) map[int]int {
	t.Helper()
	statuses := crowd(t, s.Clients()["h1"], "https://"+s.Addr, clients, requests)
	delete(statuses, 0)
	return statuses
}

// Upstreams are counted from the reload on that says so.
func TestUpstreamsAreCountedAfterAReload(t *testing.T) {
	all := replicas(t, 2, time.Millisecond)
	s := site.Serve(t, nil, balanced(all, "concurrency 8", "", ""))
	c := s.Clients()["h1"]
	allOK(t, crowd(t, c, "https://"+s.Addr, 20, 100))
	s.Load(balanced(all, "upstream_concurrency 1", "", ""))
	for _, r := range all {
		testkit.Eventually(t, func() bool { return r.Now.Load() == 0 })
		r.Most.Store(0)
	}
	allOK(t, crowdAfterReload(t, s, 20, 200))
	wantMost(t, map[*replica]int64{all[0]: 1, all[1]: 1})
}

// A reverse_proxy whose runs would not be bound is an error at load.
func TestUpstreamsNeedThePolicy(t *testing.T) {
	s := site.Serve(t, nil, "respond ok")
	for proxy, want := range map[string]string{
		"reverse_proxy 127.0.0.1:1 127.0.0.1:2":                              "the reverse_proxy to 127.0.0.1:1 127.0.0.1:2 behind it",
		"reverse_proxy 127.0.0.1:1 {\n lb_policy first\n }":                  "the reverse_proxy to 127.0.0.1:1 behind it",
		"route {\n reverse_proxy {\n dynamic a localhost 80\n }\n }":         "behind it has another load balancing policy",
		"php_fastcgi 127.0.0.1:1":                                            "the reverse_proxy to 127.0.0.1:1 behind it",
		"reverse_proxy /a 127.0.0.1:1\n reverse_proxy 127.0.0.1:2":           "the reverse_proxy to 127.0.0.1:1 behind it",
		"forward_auth 127.0.0.1:3 {\n uri /\n }\n reverse_proxy 127.0.0.1:1": "the reverse_proxy to 127.0.0.1:1 behind it",
	} {
		err := caddy.Load(s.Config("offload {\n name unbound\n upstream_concurrency 4\n }\n "+proxy), true)
		if err == nil || !strings.Contains(err.Error(), "pool 'unbound' has upstream_concurrency, and ") ||
			!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "write 'lb_policy offload' in its block") {
			t.Errorf("%s: got %v, want %s", proxy, err, want)
		}
	}
}

// What has no effect is named at load.
func TestUpstreamsWithoutEffectAreNamedAtLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	site.ServeGlobal(t, nil, "log {\n output file "+file+"\n level INFO\n }", `
	offload /bound/* {
		name bound
		upstream_concurrency 4 {
			127.0.0.1:1 2
			127.0.0.1:2 2
		}
	}
	reverse_proxy /bound/* 127.0.0.1:1 {
		lb_policy offload
	}
	reverse_proxy /else/* 127.0.0.1:3 {
		lb_policy offload
	}`)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "upstream_concurrency") && strings.Contains(line, `"level":"warn"`) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 || !strings.Contains(lines[0], `"pool":"bound","address":"127.0.0.1:2","known":"127.0.0.1:1"`) || !strings.Contains(lines[1], `"upstreams":"127.0.0.1:3"`) {
		t.Errorf("the warnings are %s", fmt.Sprint(lines))
	}
}
