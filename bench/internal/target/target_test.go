package target

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/bench/internal/caddy/block"
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
		OffloadBefore, CaddyUsual, OffloadUsual, CaddyBlock, CaddyPlain, OffloadNoCelery,
	} {
		for about, change := range plans {
			t.Run(string(name)+" "+about, func(t *testing.T) {
				plan := somePlan()
				change(&plan)
				text := caddyText(name, plan, someKit())
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
		CaddyUsual:      {"output file /nowhere/access.log", "\tencode\n"},
		CaddyBlock:      {"bench_block /slow/*"},
		OffloadNoCelery: {"offload /slow/* {", "concurrency 8"},
		OffloadUsual:    {"output file /nowhere/access.log", "\tencode\n", "offload /slow/* {", "concurrency 8"},
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

func severalServers() Plan {
	return Plan{
		Servers: []Server{{"127.0.0.1:1001", 4}, {"127.0.0.1:1002", 8}},
		Health:  "/health", Queue: 64, MaxWait: 5 * time.Second, Core: -1,
	}
}

func TestSeveralServersAdapt(t *testing.T) {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	plans := map[string]func(*Plan){
		"two":    func(*Plan) {},
		"a hold": func(p *Plan) { p.Servers, p.Hold, p.Health = p.Servers[:1], 5*time.Second, "" },
	}
	for _, name := range []Name{Caddy, Offload} {
		for about, change := range plans {
			t.Run(string(name)+" "+about, func(t *testing.T) {
				plan := severalServers()
				change(&plan)
				text := caddyText(name, plan, someKit())
				json, warnings, err := adapter.Adapt([]byte(text), nil)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("%v %v\n%s", err, warnings, text)
				}
				for _, server := range plan.Servers {
					if !strings.Contains(string(json), server.Addr) {
						t.Fatalf("server %s is missing:\n%s", server.Addr, text)
					}
				}
			})
		}
	}
}

func TestEachServerHasItsLimit(t *testing.T) {
	held := severalServers()
	held.Servers, held.Hold = held.Servers[:1], 5*time.Second
	for _, c := range []struct {
		name  Name
		plan  Plan
		words []string
		not   string
	}{
		{Caddy, severalServers(), []string{
			"reverse_proxy 127.0.0.1:1001 127.0.0.1:1002 {", "lb_policy least_conn", "lb_retries 3", "health_uri /health",
		}, "offload"},
		{Offload, severalServers(), []string{
			"\toffload {\n\t\tupstream_concurrency 4 {\n\t\t\t127.0.0.1:1002 8\n", "queue 64", "max_wait 5s", "breaker off",
			"lb_policy offload", "health_uri /health",
		}, "\tconcurrency"},
		{Offload, held, []string{"concurrency 4", "breaker {\n\t\t\thold 5s\n"}, "lb_policy"},
		{HAProxy, severalServers(), []string{
			"127.0.0.1:1001 maxconn 4 check", "127.0.0.1:1002 maxconn 8 check", "timeout queue 5000ms", "retries 3",
			"option redispatch", "httpchk GET /health", "retry-on conn-failure",
		}, "queue("},
		{HAProxy, held, []string{"127.0.0.1:1001 maxconn 4 check", "retries 3"}, "retry-on"},
	} {
		r, err := recipeOf(c.name, c.plan, someKit())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range r.files {
			for _, word := range c.words {
				if !strings.Contains(text, word) {
					t.Errorf("%s: %q is missing:\n%s", c.name, word, text)
				}
			}
			if strings.Contains(text, c.not) {
				t.Errorf("%s: %q is in\n%s", c.name, c.not, text)
			}
		}
	}
}

func TestErrorsAreThoseOfTheLog(t *testing.T) {
	at := &Target{dir: t.TempDir()}
	if _, err := at.Errors(); err == nil {
		t.Error("no log: no error")
	}
	text := "[NOTICE] haproxy\n" + `{"level":"error","ts":12.5,"msg":"no upstreams available"}` + "\n" + `{"level":"er`
	if err := os.WriteFile(at.dir+"/output", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := at.Errors()
	if err != nil || len(lines) != 1 || lines[0].Msg != "no upstreams available" || !lines[0].At().Equal(time.UnixMilli(12_500)) {
		t.Errorf("%+v, %v", lines, err)
	}
}

// A ratio compares targets that differ in offload alone.
func TestPairsDifferInOffloadAlone(t *testing.T) {
	for _, name := range []Name{Offload, OffloadUsual} {
		ours, plain := caddyText(name, somePlan(), someKit()), caddyText(name.Pair(), somePlan(), someKit())
		before, after, _ := strings.Cut(ours, "\toffload ")
		_, after, _ = strings.Cut(after, "\t}\n")
		if before+after != plain {
			t.Errorf("%s is\n%s\n%s is\n%s", name, ours, name.Pair(), plain)
		}
		if name.Header() != name.Pair().Header() {
			t.Errorf("%s and %s get different requests", name, name.Pair())
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

func TestEachBuildOfCaddyHasItsTarget(t *testing.T) {
	k := someKit()
	k.programs = Programs{Caddy: "caddy", Before: "before", Plain: "plain", NoCelery: "nocelery", Blocking: "blocking"}
	for name, program := range map[Name]string{
		Caddy: "caddy", Offload: "caddy", OffloadBefore: "before", CaddyPlain: "plain",
		OffloadNoCelery: "nocelery", CaddyBlock: "blocking",
	} {
		r, err := recipeOf(name, somePlan(), k)
		if err != nil || r.command[0] != program {
			t.Errorf("%s: %v, %v, want the program %s", name, r.command, err, program)
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

// A target is ready when it answers, not when it accepts connections.
func TestReadyTargetsAnswer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ready := &Target{Addr: server.Listener.Addr().String()}
	if err := ready.answers(t.Context()); err != nil {
		t.Errorf("a server that answers: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}()
	early := &Target{Addr: silent.Addr().String()}
	if err := early.answers(t.Context()); err == nil {
		t.Error("a server that hangs up: no error")
	}
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := early.answers(t.Context()); err == nil {
		t.Error("no server: no error")
	}
}
