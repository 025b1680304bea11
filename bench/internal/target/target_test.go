package target

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
)

func somePlan() Plan {
	return Plan{
		Slow: "127.0.0.1:1001", Fast: "127.0.0.1:1002", Limit: 8, Queue: 64, MaxWait: 500 * time.Millisecond, Core: -1,
	}
}

func someKit() kit {
	return kit{dir: "/nowhere", addr: "127.0.0.1:1000", programs: Programs{Caddy: "caddy", HAProxy: "haproxy", NGINX: "nginx"}}
}

// The options of the directive may change; then these files must follow.
func TestCaddyfilesAdapt(t *testing.T) {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	plans := map[string]func(*Plan){
		"two upstreams": func(*Plan) {},
		"one upstream":  func(p *Plan) { p.Slow = p.Fast },
		"no limit":      func(p *Plan) { p.Limit = 0 },
	}
	for _, name := range []Name{
		Caddy, CaddyAgain, CaddyMaxConns, CaddyBuffers, Offload, OffloadNoSpool, OffloadUnmarked,
	} {
		for about, change := range plans {
			t.Run(string(name)+" "+about, func(t *testing.T) {
				plan := somePlan()
				change(&plan)
				text := caddyText(name, plan, "127.0.0.1:1000")
				json, warnings, err := adapter.Adapt([]byte(text), nil)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("%v %v\n%s", err, warnings, text)
				}
				for _, upstream := range []string{plan.Slow, plan.Fast} {
					if !strings.Contains(string(json), upstream) {
						t.Fatalf("upstream %s is missing:\n%s", upstream, text)
					}
				}
			})
		}
	}
}

func TestLimitsReachEachConfig(t *testing.T) {
	for name, words := range map[Name][]string{
		Caddy:           {"reverse_proxy /slow/* 127.0.0.1:1001", "reverse_proxy 127.0.0.1:1002"},
		CaddyMaxConns:   {"max_conns_per_host 8"},
		CaddyBuffers:    {"max_conns_per_host 8", "request_buffers 4MiB", "response_buffers 4MiB"},
		HAProxy:         {"maxconn 8", "timeout queue 500ms", "queue(slow) ge 64", "option http-no-delay"},
		HAProxyBig:      {"maxconn 8", "tune.bufsize 1310720"},
		NGINX:           {"limit_conn slow 8;"},
		NGINXMaxConns:   {"max_conns=8"},
		Offload:         {"concurrency 8", "queue 64", "max_wait 500ms", "breaker off"},
		OffloadNoSpool:  {"concurrency 8", "request_spool off", "response_spool off"},
		OffloadUnmarked: {"offload /slow/* {"},
	} {
		r, err := recipeOf(name, somePlan(), someKit())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range r.files {
			for _, word := range words {
				if !strings.Contains(text, word) {
					t.Errorf("%s: %q is missing:\n%s", name, word, text)
				}
			}
		}
	}
}

func TestPinnedTargetsHaveOneThread(t *testing.T) {
	plan := somePlan()
	plan.Core = 1
	for name, word := range map[Name]string{HAProxy: "nbthread 1", NGINX: "worker_processes 1;", Caddy: "GOMAXPROCS=1"} {
		r, err := recipeOf(name, plan, someKit())
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(r.env, " ")
		for _, text := range r.files {
			all += text
		}
		if !strings.Contains(all, word) {
			t.Errorf("%s: %q is missing", name, word)
		}
	}
}

func TestUploadsAreReadFirstWhereThereIsAChoice(t *testing.T) {
	plan := somePlan()
	plan.Uploads = true
	if text := haproxyConfig(HAProxy, plan, "127.0.0.1:1000"); !strings.Contains(text, "option http-buffer-request") {
		t.Errorf("haproxy forwards uploads as they come:\n%s", text)
	}
}

func TestUnknownTargetIsAnError(t *testing.T) {
	if _, err := recipeOf("squid", somePlan(), someKit()); err == nil {
		t.Fatal("no error")
	}
}

func TestDirectIsTheUpstreamItself(t *testing.T) {
	at, err := Start(t.Context(), Programs{}, t.TempDir(), Direct, somePlan())
	if err != nil {
		t.Fatal(err)
	}
	pids, err := at.PIDs()
	if at.Addr != "127.0.0.1:1001" || len(pids) != 0 || err != nil {
		t.Fatalf("%+v, %v, %v", at, pids, err)
	}
	if err := at.Stop(); err != nil {
		t.Fatal(err)
	}
}

// A target that ends at its start is reported immediately, with its last
// output, and leaves no files.
func TestFailedStart(t *testing.T) {
	program, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if _, err := Start(t.Context(), Programs{HAProxy: program}, dir, HAProxy, somePlan()); err == nil {
		t.Fatal("no error")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}
