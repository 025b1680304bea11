package jobroute_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// job sends a request that becomes a job, and returns its result.
func job(t *testing.T, s *site.Site, kind, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Job", kind)
	req.Header.Set("Tenant", "one")
	_, body := site.Do(t, s.Clients()["h1"], req)
	return body
}

// scraped returns the lines of the metrics that have the text.
func scraped(t *testing.T, s *site.Site, text string) string {
	t.Helper()
	_, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/metrics")
	var found []string
	for line := range strings.Lines(body) {
		if strings.Contains(line, text) && !strings.HasPrefix(line, "#") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, "\n")
}

// upstream answers by the path of a request. Requests to /wait wait for the test.
type upstream struct{ release chan struct{} }

func newUpstream() *upstream { return &upstream{make(chan struct{})} }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case strings.HasPrefix(r.URL.Path, "/wait"):
		select {
		case <-u.release:
		case <-r.Context().Done():
		}
	case r.URL.Path == "/fails":
		w.WriteHeader(http.StatusInternalServerError)
	case r.URL.Path == "/cut":
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "some")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/dies":
		conn, _, _ := http.NewResponseController(w).Hijack()
		conn.Close()
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
}

// body has a route with a pool, in which jobs run with options.
func body(options string) string {
	return `metrics /metrics
	@work not path /metrics
	offload @work {
		name work
		concurrency 1
		server_timing
		` + options + `
		jobs {
			handle {
				reverse_proxy UPSTREAM
			}
		}
	}
	reverse_proxy UPSTREAM`
}

// A job runs in the pool of its route, in the class of jobs, and all is known of its run.
func TestJobsRun(t *testing.T) {
	up := newUpstream()
	s := site.Serve(t, up, body("breaker off\nrun_timeout 2s\nfirst_byte_timeout 200ms\non_abandon cancel"))
	for _, tt := range []struct{ path, want string }{
		{"/done", "started=true reason= again=false sent=true status=200 complete=true failed=false written=true body=GET /done body"},
		{"/fails", "started=true reason= again=false sent=true status=500 complete=true failed=false written=true body=GET /fails body"},
		{"/cut", "started=true reason= again=false sent=true status=200 complete=false failed=true written=true body=some"},
		{"/dies", "started=true reason= again=false sent=true status=0 complete=false failed=true written=false body="},
		{"/wait", "started=true reason=first_byte_timeout again=false sent=true status=0 complete=false failed=true written=false body="},
	} {
		if got := job(t, s, "yes", tt.path); got != "work/work: "+tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.path, got, tt.want)
		}
	}
	if got := scraped(t, s, "class_admitted_total"); !strings.Contains(got, `class="jobs",pool="work"} 5`) {
		t.Errorf("the classes are\n%s", got)
	}
	if got := job(t, s, "no", "/done"); got != "GET /done " {
		t.Errorf("without a job: %s", got)
	}
}

// What did not reach the upstream was not sent.
func TestJobsThatAreNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for name, handle := range map[string]string{
		"refused": "reverse_proxy " + l.Addr().String(),
		"no upstream": "reverse_proxy " + l.Addr().String() + ` {
			health_uri /
			health_interval 50ms
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream()
			s := site.Serve(t, up, strings.ReplaceAll(body("breaker off"), "handle {\n\t\t\t\treverse_proxy UPSTREAM", "handle {\n"+handle))
			want := "work/work: started=true reason= again=false sent=false status=0 complete=false failed=true written=false body="
			testkit.Eventually(t, func() bool { return job(t, s, "yes", "/done") == want })
		})
	}
}

// A panic of the handlers ends the run, and nothing else.
func TestJobsThatPanic(t *testing.T) {
	up := newUpstream()
	word := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error { panic("on purpose") })
	s := site.Serve(t, up, strings.Replace(body("breaker off"), "reverse_proxy UPSTREAM", word, 1))
	want := "work/work: started=true reason= again=false sent=true status=0 complete=false failed=true written=false body="
	if got := job(t, s, "yes", "/done"); got != want {
		t.Errorf("got %s", got)
	}
	if got := job(t, s, "yes", "/done"); got != want {
		t.Errorf("the second got %s", got)
	}
}

// A job waits longer than requests may, and takes none of their places.
func TestJobsWait(t *testing.T) {
	up := newUpstream()
	s := site.Serve(t, up, body("breaker off\nmax_wait 50ms\nqueue 1"))
	first := make(chan string)
	go func() { first <- job(t, s, "yes", "/wait/1") }()
	testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `class_running{class="jobs"`), " 1") })
	if got := job(t, s, "now", "/done"); got != "work/work: started=false reason= again=false sent=false status=0 complete=false failed=false written=false body=" {
		t.Errorf("one that does not wait: %s", got)
	}
	second := make(chan string)
	go func() { second <- job(t, s, "yes", "/done") }()
	testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `class_waiting{class="jobs"`), " 1") })
	if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/done"); res.StatusCode != 503 {
		t.Errorf("a request got %d", res.StatusCode)
	}
	if got := scraped(t, s, "rejections_total{"); !strings.Contains(got, `reason="wait_timeout"`) {
		t.Errorf("the request did not wait:\n%s", got)
	}
	close(up.release)
	for _, result := range []string{<-first, <-second} {
		if !strings.Contains(result, "complete=true") {
			t.Errorf("got %s", result)
		}
	}
}

// An open breaker turns jobs away until it probes, without counting them.
func TestJobsBeforeAnOpenBreaker(t *testing.T) {
	s := site.Serve(t, newUpstream(), body("breaker {\nconsecutive_failures 1\n}"))
	job(t, s, "yes", "/fails")
	want := "work/work: started=false reason=breaker_open again=true sent=false status=0 complete=false failed=false written=false body="
	if got := job(t, s, "yes", "/done"); got != want {
		t.Errorf("got %s", got)
	}
	if got := scraped(t, s, `reason="breaker_open"`); strings.Contains(got, "} 1") {
		t.Errorf("counted:\n%s", got)
	}
}

// When a job is not wanted any longer, its wait and its run end.
func TestJobsAreCancelled(t *testing.T) {
	up := newUpstream()
	s := site.Serve(t, up, body("breaker off\non_abandon cancel"))
	for _, tt := range []struct {
		phase string
		ended func(jobhost.Result) bool
	}{
		{"running", func(res jobhost.Result) bool { return res.Started && reasonOf(res) == "cancelled" && res.Sent }},
		{"waiting", func(res jobhost.Result) bool {
			return !res.Started && res.Err != nil && res.Err.Error() == "not wanted"
		}},
	} {
		t.Run(tt.phase, func(t *testing.T) {
			if tt.phase == "waiting" {
				holder := make(chan string)
				go func() { holder <- job(t, s, "yes", "/wait") }()
				defer func() {
					close(up.release)
					<-holder
				}()
				testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `class_running{class="jobs"`), " 1") })
			}
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Addr+"/wait", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Job", "yes")
			left := make(chan struct{})
			go func() {
				defer close(left)
				if res, err := s.Clients()["h1"].Do(req); err == nil {
					res.Body.Close()
				}
			}()
			testkit.Eventually(t, func() bool {
				return strings.Contains(scraped(t, s, `class_`+tt.phase+`{class="jobs"`), " 1")
			})
			leave()
			<-left
			testkit.Eventually(t, func() bool { _, ok := results.last(tt.ended); return ok })
		})
	}
}

// The apps of two configurations follow each other, and one that fails to load takes nothing
// from the one that runs.
func TestConfigurationsWithJobs(t *testing.T) {
	called.take()
	s := site.ServeGlobal(t, newUpstream(), "offload {\njobs {\nstore one\n}\n}", body(""))
	expect := func(want string) {
		t.Helper()
		if got := called.take(); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	expect("open one, bind one")
	config := string(s.Config(body("")))
	if err := caddy.Load([]byte(strings.Replace(config, `"one"`, `"two"`, 1)), true); err != nil {
		t.Fatal(err)
	}
	expect("open two, bind two, close one")
	if err := caddy.Load([]byte(strings.Replace(config, `"one"`, `"taken"`, 1)), true); err == nil || !strings.Contains(err.Error(), "jobs: the store is taken") {
		t.Errorf("got %v", err)
	}
	expect("open taken, close taken")
	late := strings.Replace(strings.Replace(config, `"one"`, `"late"`, 1), `"apps":{`, `"apps":{"broken":{},`, 1)
	if err := caddy.Load([]byte(late), true); err == nil {
		t.Error("the broken app has started")
	}
	if got := called.take(); strings.Contains(got, "bind") || !strings.Contains(got, "close late") {
		t.Errorf("got %s", got)
	}
	if err := caddy.Validate(parsed(t, config)); err != nil {
		t.Fatal(err)
	}
	expect("close one")
	if got := job(t, s, "yes", "/done"); !strings.Contains(got, "complete=true") {
		t.Errorf("got %s", got)
	}
	s.Load("metrics /metrics\noffload /done {\nname work\n}\nreverse_proxy UPSTREAM")
	if got := scraped(t, s, `class="jobs"`); got != "" {
		t.Errorf("the pool has the class still:\n%s", got)
	}
}

// A reload changes neither jobs that run nor those that wait for a permit, although it
// removes their pool.
func TestReloadsDuringJobs(t *testing.T) {
	up := newUpstream()
	s := site.Serve(t, up, body("breaker off"))
	first, second := make(chan string), make(chan string)
	go func() { first <- job(t, s, "yes", "/wait/1") }()
	testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `class_running{class="jobs"`), " 1") })
	go func() { second <- job(t, s, "yes", "/done") }()
	testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `class_waiting{class="jobs"`), " 1") })
	s.Load(body("breaker off\nqueue 5"))
	if got := scraped(t, s, `class_waiting{class="jobs"`); !strings.HasSuffix(got, " 1") {
		t.Errorf("after a reload: %s", got)
	}
	s.Load(strings.Replace(body("breaker off"), "name work", "name other", 1))
	close(up.release)
	for _, result := range []string{<-first, <-second} {
		if !strings.HasPrefix(result, "work/work: ") || !strings.Contains(result, "complete=true") {
			t.Errorf("got %s", result)
		}
	}
}

func adapted(t *testing.T, text string) (string, error) {
	t.Helper()
	config, _, err := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return string(config), err
}

func parsed(t *testing.T, text string) *caddy.Config {
	t.Helper()
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON([]byte(text), config); err != nil {
		t.Fatal(err)
	}
	return config
}

// Each route has a separate name in the store.
func TestNamesOfJobs(t *testing.T) {
	const two = `{
	admin off
	offload {
		pool shared {
			concurrency 2
		}
	}
}
localhost:1 {
	offload /a/* shared {
		jobs {
			handle {
				respond "a"
			}
		}
	}
	offload /b/* shared {
		jobs {
			name OTHER
			handle {
				respond "b"
			}
		}
	}
}`
	config, err := adapted(t, strings.Replace(two, "name OTHER", "", 1))
	if err != nil || !strings.Contains(config, `"name":"/a/* on localhost:1"`) || !strings.Contains(config, `"name":"/b/* on localhost:1"`) {
		t.Errorf("%v\n%s", err, config)
	}
	if err := caddy.Validate(parsed(t, config)); err != nil {
		t.Error(err)
	}
	config, err = adapted(t, strings.Replace(two, "OTHER", "\"/a/* on localhost:1\"", 1))
	if err != nil {
		t.Fatal(err)
	}
	err = caddy.Validate(parsed(t, config))
	if err == nil || !strings.Contains(err.Error(), "jobs of two routes have the name '/a/* on localhost:1'") {
		t.Errorf("got %v", err)
	}
}

// Jobs in JSON that cannot be.
func TestJobsThatCannotBe(t *testing.T) {
	const handle = `"jobs": {"handle": [{"handle": [{"handler": "static_response"}]}]}`
	for name, tt := range map[string]struct{ fields, want string }{
		"without a name": {handle, "jobs need a name"},
		"in mode shadow": {`"name": "x", "mode": "shadow", ` + handle, "jobs in mode shadow"},
		"unknown fields": {`"name": "x", "jobs": {"unknown": 1}`, `unknown field "unknown"`},
		"no object":      {`"name": "x", "jobs": 1`, "jobs: json: cannot unmarshal"},
		"null":           {`"name": "x", "jobs": null`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := `{"admin": {"disabled": true}, "apps": {"http": {"servers": {"one": {"listen": ["localhost:1"],
				"routes": [{"handle": [{"handler": "offload", ` + tt.fields + `}]}]}}}}}`
			err := caddy.Validate(parsed(t, config))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// The upstreams of jobs count as much as those of requests.
func TestUpstreamsOfJobs(t *testing.T) {
	const options = "breaker off\nupstream_concurrency 1"
	s := site.Serve(t, newUpstream(), strings.ReplaceAll(body(options), "reverse_proxy UPSTREAM", "reverse_proxy UPSTREAM {\nlb_policy offload\n}"))
	if got := job(t, s, "yes", "/done"); !strings.Contains(got, "complete=true") {
		t.Errorf("got %s", got)
	}
	config := s.Config(strings.Replace(body(options), "reverse_proxy UPSTREAM", "respond done", 2))
	if err := caddy.Load(config, true); err != nil {
		t.Errorf("without a proxy: %v", err)
	}
	config = s.Config(strings.Replace(body(options), "\treverse_proxy UPSTREAM", "\trespond done", 1))
	if err := caddy.Load(config, true); err == nil {
		t.Error("a proxy behind with another policy was accepted")
	}
}

// A pool behind another one takes the jobs of that one as requests.
func TestJobsInNestedPools(t *testing.T) {
	up := newUpstream()
	const nested = `offload {
		name inner
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`
	s := site.Serve(t, up, strings.Replace(strings.Replace(body("breaker off"), "concurrency 1", "concurrency 2", 1), "reverse_proxy UPSTREAM", nested, 1))
	first := make(chan string)
	go func() { first <- job(t, s, "yes", "/wait") }()
	testkit.Eventually(t, func() bool { return strings.Contains(scraped(t, s, `running{pool="inner"`), " 1") })
	if got := job(t, s, "yes", "/done"); !strings.HasPrefix(got, "work/work: started=true reason= again=false sent=true status=503 complete=true") {
		t.Errorf("got %s", got)
	}
	close(up.release)
	if got := <-first; !strings.Contains(got, "complete=true") {
		t.Errorf("got %s", got)
	}
}
