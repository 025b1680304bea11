package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// replica is one of several upstreams, which counts its requests. It can be killed and
// started again.
type replica struct {
	site.Counter
	addr   string
	health int // the status of its health check
	work   func(r *http.Request)
	checks atomic.Int64 // of its health

	mu     sync.Mutex
	server *http.Server
}

// replicas starts n upstreams that work for that time.
func replicas(t *testing.T, n int, took time.Duration) (all []*replica) {
	t.Helper()
	for range n {
		r := &replica{addr: "127.0.0.1:0", health: http.StatusOK, work: func(*http.Request) { testkit.Pause(took) }}
		r.start(t)
		t.Cleanup(r.kill)
		all = append(all, r)
	}
	return all
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	var l net.Listener
	testkit.Eventually(t, func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", r.addr)
		return err == nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil { // its handlers read the address
		r.addr = l.Addr().String()
	}
	r.server = &http.Server{Handler: r}
	server := r.server
	go func() { _ = server.Serve(l) }()
}

func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.server.Close()
}

func (r *replica) setHealth(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health = status
}

func (r *replica) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/health" {
		r.checks.Add(1)
		r.mu.Lock()
		defer r.mu.Unlock()
		w.WriteHeader(r.health)
		return
	}
	r.Enter()
	r.work(req)
	r.Leave()
	_, _ = io.WriteString(w, r.addr)
}

// addresses are those of upstreams, as arguments of reverse_proxy.
func addresses(all []*replica) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(" " + r.addr)
	}
	return b.String()
}

// wantMost fails if an upstream had more requests at once.
func wantMost(t *testing.T, limits map[*replica]int64) {
	t.Helper()
	for r, limit := range limits {
		if most := r.Most.Load(); most > limit {
			t.Errorf("%d requests at once at an upstream, want %d at most", most, limit)
		}
		if r.Total.Load() == 0 {
			t.Error("an upstream has got no request")
		}
	}
}

// crowd sends requests of that many clients until the number of requests is reached, and
// returns the answers by status.
func crowd(t *testing.T, c *http.Client, url string, clients, requests int) map[int]int {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	statuses := make(map[int]int)
	for range clients {
		all.Go(func() {
			for range requests / clients {
				status := 0
				if res, err := c.Get(url); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					status = res.StatusCode
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return statuses
}

// allOK fails unless all answers have status 200.
func allOK(t *testing.T, statuses map[int]int) {
	t.Helper()
	if len(statuses) != 1 || statuses[200] == 0 {
		t.Errorf("the answers by status are %v", statuses)
	}
}

// Each upstream gets its own number of requests at once, and all work to the full.
func TestUpstreamsKeepToTheirConcurrency(t *testing.T) {
	all := replicas(t, 3, 2*time.Millisecond)
	s := site.Serve(t, nil, fmt.Sprintf(`
	offload {
		name kept
		queue 200
		upstream_concurrency 2 {
			%s 5
		}
	}
	reverse_proxy%s {
		lb_policy offload
	}`, all[2].addr, addresses(all)))
	allOK(t, crowd(t, s.Clients()["h1"], "https://"+s.Addr, 100, 2000))
	wantMost(t, map[*replica]int64{all[0]: 2, all[1]: 2, all[2]: 5})
	for i, limit := range []int64{2, 2, 5} {
		if got := all[i].Most.Load(); got != limit {
			t.Errorf("upstream %d had %d at once, want %d", i, got, limit)
		}
	}
}

// balanced is a site with a pool in front of upstreams.
func balanced(all []*replica, pool, policy, proxy string) string {
	return fmt.Sprintf(`
	offload {
		name balanced
		breaker off
		queue 200
		%s
	}
	reverse_proxy%s {
		lb_policy offload %s
		%s
	}`, pool, addresses(all), policy, proxy)
}

// Upstreams keep to their numbers, and no request is rejected, while one of them fails its
// health check now and then, another one is killed and started again, and Caddy reloads.
func TestUpstreamsInAStorm(t *testing.T) {
	all := replicas(t, 3, time.Millisecond)
	body := func(wait int) string {
		return balanced(all, fmt.Sprintf("upstream_concurrency 2 {\n %s 4\n }\n max_wait %ds", all[0].addr, wait), "", `
		lb_retries 5
		health_uri /health
		health_interval 50ms
		fail_duration 50ms`)
	}
	s := site.Serve(t, nil, body(60))
	done := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for n := range 1000 {
			select {
			case <-done:
				return
			case <-time.After(30 * time.Millisecond):
			}
			all[1].setHealth([]int{500, 200}[n%2])
			all[2].kill()
			testkit.Eventually(t, func() bool { return all[2].Now.Load() == 0 })
			all[2].start(t)
			if n%8 == 7 {
				s.Load(body(60 + n/8))
			}
		}
	})
	statuses := crowd(t, s.Clients()["h1"], "https://"+s.Addr, 100, 3000)
	close(done)
	changes.Wait()
	// A reload cuts connections of clients, and a kill those to the upstream: some requests
	// fail without an answer, or with 502.
	if statuses[0]+statuses[502] > 600 || statuses[0]+statuses[502]+statuses[200] != 3000 {
		t.Errorf("the answers by status are %v", statuses)
	}
	wantMost(t, map[*replica]int64{all[0]: 4, all[1]: 2, all[2]: 2})
}

// Two pools in front of an upstream share its permits, and two handlers behind a pool have
// the upstreams of both.
func TestUpstreamsAreShared(t *testing.T) {
	all := replicas(t, 3, 2*time.Millisecond)
	pool := func(name string) string {
		return fmt.Sprintf("pool %s {\n upstream_concurrency 2\n queue 200\n }\n", name)
	}
	s := site.ServeGlobal(t, nil, "offload {\n"+pool("one")+pool("other")+"}", fmt.Sprintf(`
	offload /one/* one
	offload /other/* other
	reverse_proxy /one/a%s {
		lb_policy offload
	}
	reverse_proxy /one/b%s {
		lb_policy offload
	}
	reverse_proxy /other/*%s {
		lb_policy offload
	}`, addresses(all[:2]), addresses(all[2:]), addresses(all[1:])))
	c := s.Clients()["h1"]
	var crowds sync.WaitGroup
	for _, path := range []string{"/one/a", "/one/b", "/other/a"} {
		crowds.Go(func() { allOK(t, crowd(t, c, "https://"+s.Addr+path, 30, 600)) })
	}
	crowds.Wait()
	wantMost(t, map[*replica]int64{all[0]: 2, all[1]: 2, all[2]: 2})
}

// held makes upstreams work until the test releases a request.
func held(all []*replica) (release chan struct{}) {
	release = make(chan struct{})
	for _, r := range all {
		r.work = func(*http.Request) { <-release }
	}
	return release
}

// start sends a request with these cookies, and returns its answer later.
func start(t *testing.T, c *http.Client, url string, cookies ...*http.Cookie) <-chan *http.Response {
	t.Helper()
	answer := make(chan *http.Response, 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	go func() {
		defer close(answer)
		if res, err := c.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			answer <- res
		}
	}()
	return answer
}

// now are the numbers of requests at upstreams.
func now(all []*replica) (n []int64) {
	for _, r := range all {
		n = append(n, r.Now.Load())
	}
	return n
}

// Upstreams get parts of the runs by weight, which are their permits by default.
func TestUpstreamsByWeight(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		n      int
		want   []int64
	}{
		"by permits": {"", 6, []int64{2, 4}},
		"by weight":  {"{\n weight ADDRESS 18\n }", 4, []int64{3, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			all := replicas(t, 2, 0)
			release := held(all)
			s := site.Serve(t, nil, balanced(all, "upstream_concurrency 10 {\n "+all[0].addr+" 3\n "+all[1].addr+" 6\n }",
				strings.ReplaceAll(test.policy, "ADDRESS", all[0].addr), ""))
			c := s.Clients()["h2"]
			var answers []<-chan *http.Response
			for i := range test.n {
				answers = append(answers, start(t, c, "https://"+s.Addr))
				testkit.Eventually(t, func() bool { return all[0].Now.Load()+all[1].Now.Load() == int64(i+1) })
			}
			if got := now(all); !slices.Equal(got, test.want) {
				t.Errorf("the upstreams have %v requests, want %v", got, test.want)
			}
			close(release)
			for _, answer := range answers {
				testkit.Receive(t, answer)
			}
		})
	}
}

// A client with an affinity waits for its upstream, and takes another one after max_wait.
func TestAffinityOfUpstreams(t *testing.T) {
	for name, maxWait := range map[string]string{"waits": "1m", "yields": "50ms", "does not wait": "0"} {
		t.Run(name, func(t *testing.T) {
			all := replicas(t, 2, 0)
			release := held(all)
			s := site.Serve(t, nil, balanced(all, "upstream_concurrency 1", "{\n affinity cookie lb secret max_wait "+maxWait+"\n }", ""))
			c := s.Clients()["h2"]
			// Two clients without a cookie get two upstreams at once, and cookies for these.
			first, second := start(t, c, "https://"+s.Addr), start(t, c, "https://"+s.Addr)
			testkit.Eventually(t, func() bool { return slices.Equal(now(all), []int64{1, 1}) })
			release <- struct{}{}
			release <- struct{}{}
			one, other := testkit.Receive(t, first).Cookies(), testkit.Receive(t, second).Cookies()
			if len(one) != 1 || len(other) != 1 || one[0].Value == other[0].Value {
				t.Fatalf("the cookies are %v and %v", one, other)
			}
			busy := start(t, c, "https://"+s.Addr, one...)
			testkit.Eventually(t, func() bool { return all[0].Now.Load()+all[1].Now.Load() == 1 })
			at := now(all)
			next := start(t, c, "https://"+s.Addr, one...)
			if name == "waits" {
				testkit.Quiet(100 * time.Millisecond)
				if got := now(all); !slices.Equal(got, at) {
					t.Errorf("the upstreams have %v requests, want %v", got, at)
				}
				release <- struct{}{}
				testkit.Receive(t, busy)
				testkit.Eventually(t, func() bool { return slices.Equal(now(all), at) })
			} else {
				testkit.Eventually(t, func() bool { return slices.Equal(now(all), []int64{1, 1}) })
			}
			close(release)
			if res := testkit.Receive(t, next); res.StatusCode != 200 {
				t.Errorf("got %d", res.StatusCode)
			}
		})
	}
}

// A request is sent again to another upstream.
func TestRetriesGoToAnotherUpstream(t *testing.T) {
	all := replicas(t, 2, 0)
	all[1].kill()
	s := site.Serve(t, nil, balanced(all, "upstream_concurrency 1", "", "lb_retries 1"))
	allOK(t, crowd(t, s.Clients()["h1"], "https://"+s.Addr, 1, 20))
	if got := all[0].Total.Load(); got != 20 {
		t.Errorf("the other upstream has got %d requests, want 20", got)
	}
}
