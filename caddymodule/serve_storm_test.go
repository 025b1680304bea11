package caddymodule_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

var stormReloads = flag.Int("storm.reloads", 10, "reloads of the reload storm, five a second")

const (
	stormClients = 200
	stormPause   = 200 * time.Millisecond
	stormMost    = 40 // the largest limit
	stormFiller  = 4 << 10
)

// storm counts the results of requests, each with a unique id.
type storm struct {
	arrived sync.Map // at Caddy's handlers
	ran     sync.Map // at the upstream

	served, unheard atomic.Int64
	up              site.Counter
}

func (s *storm) upstream(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Id")
		if _, again := s.ran.LoadOrStore(id, true); again {
			t.Errorf("%s ran twice", id)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/pool/") {
			s.up.Enter()
			defer s.up.Leave()
		}
		testkit.Pause(time.Duration(10+len(id)%3*10) * time.Millisecond)
		io.WriteString(w, id+strings.Repeat("x", stormFiller))
	}
}

// ask sends requests until stop is closed. One that has arrived must be answered in
// full. Caddy may close a connection in the very moment in which a request is sent on
// it: such a request counts as unheard.
func (s *storm) ask(t *testing.T, c *http.Client, url, name string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%s-%d", name, i)
		req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(strings.Repeat("b", i%3*1000)))
		req.Header.Set("X-Id", id)
		status, body := 0, ""
		res, err := c.Do(req)
		if err == nil {
			status = res.StatusCode
			body, err = readAll(res.Body)
			res.Body.Close()
		}
		_, arrived := s.arrived.Load(id)
		switch {
		case err == nil && status == 200 && body == id+strings.Repeat("x", stormFiller):
			s.served.Add(1)
		case !arrived:
			s.unheard.Add(1)
		default:
			t.Errorf("%s got %d, %d bytes, %v", id, status, len(body), err)
		}
	}
}

// arrivals is a handler in front of all others that records the requests that arrive.
type arrivals struct{}

var arriving func(id string)

func init() {
	caddy.RegisterModule(arrivals{})
	httpcaddyfile.RegisterHandlerDirective("arrivals", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return arrivals{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("arrivals", httpcaddyfile.Before, "tracing")
}

func (arrivals) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.arrivals", New: func() caddy.Module { return new(arrivals) }}
}

func (arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	arriving(r.Header.Get("X-Id"))
	return next.ServeHTTP(w, r)
}

// Reloads under many concurrent requests lose none, run none twice, and leave
// nothing behind. Requests without a pool go through the same reloads and are counted
// separately: they show the losses of Caddy itself. A hundred in twenty seconds:
//
//	go test -run ReloadStorm -v ./caddymodule -storm.reloads=100
func TestReloadStorm(t *testing.T) {
	var pooled, plain storm
	arriving = func(id string) {
		pooled.arrived.Store(id, true)
		plain.arrived.Store(id, true)
	}
	body := func(n int) string {
		return fmt.Sprintf(`
	metrics /metrics
	arrivals
	log_skip /plain/* # Caddy counts bodies that a transport may still read
	offload /pool/* {
		name storm
		concurrency %d
		queue 500
		max_wait %ds
	}
	header X-Load %d
	reverse_proxy UPSTREAM {
		transport http {
			keepalive off
		}
	}`, []int{stormMost, 5, 20}[n%3], 60+n%2, n)
	}
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/pool/") {
			pooled.upstream(t)(w, r)
		} else {
			plain.upstream(t)(w, r)
		}
	}), body(0))
	before := stateOf(t, s)
	stop := make(chan struct{})
	clients := s.Clients()
	var all sync.WaitGroup
	for n := range stormClients + stormClients/5 {
		version, url := "h2", "https://"+s.Addr
		if n%2 == 0 {
			version, url = "h1", "http://"+s.Clear
		}
		of, path := &pooled, "/pool/"
		if n >= stormClients {
			of, path = &plain, "/plain/"
		}
		all.Go(func() { of.ask(t, clients[version], url+path, fmt.Sprint(version, path, n), stop) })
	}
	began := time.Now()
	for n := range *stormReloads {
		testkit.Pause(time.Until(began.Add(time.Duration(n+1) * stormPause)))
		s.Load(body(n + 1))
	}
	took := time.Since(began)
	close(stop)
	all.Wait()
	t.Logf("%d reloads in %s: %d served and %d not heard in the pool, %d and %d past it", *stormReloads, took.Round(time.Millisecond),
		pooled.served.Load(), pooled.unheard.Load(), plain.served.Load(), plain.unheard.Load())
	if most := pooled.up.Most.Load(); most > stormMost {
		t.Errorf("the upstream saw %d at once, want at most %d", most, stormMost)
	}
	if pooled.served.Load() < int64(*stormReloads) {
		t.Error("hardly anything was served")
	}
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	s.Load(body(0))
	var after processState
	if !testkit.Poll(10*time.Second, func() bool { // old servers end meanwhile
		after = stateOf(t, s)
		return !before.grownTo(after)
	}) {
		t.Errorf("it was %+v and is %+v", before, after)
	}
}

// processState are the numbers that must not grow.
type processState struct {
	goroutines, files, series, references, spooled int
}

// grownTo allows for the runtime and for the connections to upstreams.
func (s processState) grownTo(now processState) bool {
	return now.goroutines > s.goroutines+10 || now.files > s.files+10 ||
		now.series != s.series || now.references != s.references || now.spooled != s.spooled
}

func stateOf(t *testing.T, s *site.Site) processState {
	t.Helper()
	now := processState{series: len(scrape(t, s)), references: caddymodule.References("storm")}
	files, _ := os.ReadDir("/proc/self/fd") // where there is none, it is none twice
	spooled, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_DATA_HOME"), "caddy/offload/spool/*"))
	now.files, now.spooled, now.goroutines = len(files), len(spooled), runtime.NumGoroutine()
	return now
}

// Waiters keep their places across reloads, however these change the limits.
func TestOrderSurvivesReloads(t *testing.T) {
	var mu sync.Mutex
	var order []string
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	body := func(n int) string {
		return fmt.Sprintf(`
	metrics /metrics
	offload /pool/* {
		name ordered
		order fifo # or a slow machine would have the newest served first
		concurrency 1
		queue %d
		max_wait %dm
	}
	reverse_proxy UPSTREAM`, n%4*5, 1+n%3)
	}
	s := site.ServeGlobal(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		order = append(order, r.URL.Path)
		mu.Unlock()
		<-work
	}), longGrace, body(3))
	c := s.Clients()["h2"]
	var all sync.WaitGroup
	var want []string
	for n := range 12 {
		path := fmt.Sprintf("/pool/%d", n)
		want = append(want, path)
		all.Go(func() {
			if res, _ := heard(t, c, "https://"+s.Addr+path); res.StatusCode != 200 {
				t.Errorf("%s got %d", path, res.StatusCode)
			}
		})
		testkit.Eventually(t, func() bool { return scrape(t, s)[`in_flight{pool="ordered"}`] == float64(n+1) })
		s.Load(body(n)) // with fewer places than there are waiters, or none
		s.Load(body(3))
	}
	release()
	all.Wait()
	if !slices.Equal(order, want) {
		t.Errorf("served in the order %q", order)
	}
}

// A pool that a reload removes finishes the requests of the configuration that had it,
// including an upload in progress.
func TestRemovedPoolsFinish(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	s := site.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-work }), `
	metrics /metrics
	offload /pool/* {
		name removed
		concurrency 1
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr + "/pool/"
	var admitted, uploading sync.WaitGroup
	for range 2 {
		admitted.Go(func() {
			if res, _ := site.Get(t, c, url); res.StatusCode != 200 {
				t.Errorf("one that was admitted got %d", res.StatusCode)
			}
		})
	}
	body, rest := io.Pipe()
	uploading.Go(func() {
		req, _ := http.NewRequest(http.MethodPost, url, body)
		if res, _ := site.Do(t, c, req); res.StatusCode != 200 {
			t.Errorf("one that was under way got %d", res.StatusCode)
		}
	})
	io.WriteString(rest, "begin")
	testkit.Eventually(t, func() bool {
		now := scrape(t, s)
		return now[`in_flight{pool="removed"}`] == 2 && now[`uploading{pool="removed"}`] == 1
	})
	s.Load("respond \"nothing\"")
	rest.Close()
	if got := caddymodule.Removed(); got != 1 {
		t.Errorf("%d removed pools have requests, want 1", got)
	}
	release()
	admitted.Wait()
	uploading.Wait()
	testkit.Eventually(t, func() bool { return caddymodule.Removed() == 0 })
}
