package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// busy is an upstream that works until the test lets it answer, whether its client is
// there or not.
type busy struct {
	site.Counter
	work chan struct{}
	gone chan struct{} // one for each request that was cancelled before it was done
}

func newBusy() *busy { return &busy{work: make(chan struct{}), gone: make(chan struct{}, 100)} }

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/free" {
		return
	}
	b.Enter()
	defer b.Leave()
	_, _ = io.Copy(io.Discard, r.Body) // until then servers do not notice a cancel
	if strings.HasPrefix(r.URL.Path, "/stream") {
		io.WriteString(w, "begin")
		http.NewResponseController(w).Flush()
	}
	select {
	case <-b.work:
	case <-r.Context().Done():
		b.gone <- struct{}{}
		if r.URL.Path != "/closed" { // like most backends: it works on
			<-b.work
		}
	}
}

// end lets n of them end, and waits for it.
func (b *busy) end(t *testing.T, n int) {
	t.Helper()
	for range n {
		b.work <- struct{}{}
	}
	testkit.Eventually(t, func() bool { return b.Now.Load() == 0 })
}

// counts waits for the pool to have so many runs, of which so many are abandoned.
func (o *operator) counts(pool string, running, abandoned int) {
	o.t.Helper()
	o.eventually(pool, func(p object) bool {
		return p["running"] == float64(running) && p["abandoned"] == float64(abandoned)
	})
}

// At a timeout the client gets a complete answer at once. The backend works on, so the
// permit stays taken until it answers: it never has more runs than the limit, for any
// number of clients that come and go.
func TestTimeoutsKeepTheirPermits(t *testing.T) {
	for _, timeout := range []string{"first_byte_timeout", "run_timeout"} {
		t.Run(timeout, func(t *testing.T) {
			up := newBusy()
			s, o := serveOperated(t, up, `
	offload {
		name kept
		concurrency 2
		queue 20
		max_wait 400ms
		`+timeout+` 200ms
		breaker off
		proxy_status_name edge
		server_timing
	}
	reverse_proxy UPSTREAM
	handle_errors {
		respond "handled {err.status_code}"
	}`)
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				up.Most.Store(0)
				before := up.Total.Load()
				var clients sync.WaitGroup
				var mu sync.Mutex
				answers := map[string]int{}
				for range 8 {
					clients.Go(func() {
						res, body := site.Get(t, c, url)
						mu.Lock()
						defer mu.Unlock()
						answers[body]++
						if res.StatusCode == 504 && (res.Header.Get("Server-Timing") == "" || !strings.Contains(res.Header.Get("Proxy-Status"), timeout)) {
							t.Errorf("got %v", res.Header)
						}
					})
				}
				clients.Wait()
				if answers["handled 504"] != 2 || answers["handled 503"] != 6 {
					t.Errorf("got %v", answers)
				}
				if most, total := up.Most.Load(), up.Total.Load()-before; most != 2 || total != 2 || up.Now.Load() != 2 {
					t.Errorf("the upstream has had %d, %d at once, and has %d", total, most, up.Now.Load())
				}
				o.counts("kept", 2, 2)
				for _, r := range o.requests("running", "kept") {
					if r["phase"] != "running" || r["abandoned"] != true {
						t.Errorf("listed as %v", r)
					}
				}
				up.end(t, 2)
				o.counts("kept", 0, 0)
				if len(up.gone) > 0 {
					t.Error("the upstream was cancelled")
				}
				if res, _ := site.Get(t, c, url+"/free"); res.StatusCode != 200 {
					t.Errorf("then got %d", res.StatusCode)
				}
			})
		})
	}
}

// An operator's cancel answers the client, and the permit stays with the backend. A
// second one ends it.
func TestCancelsKeepTheirPermits(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name kept
		concurrency 1
		queue 0
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, path := range []string{"/", "/closed"} {
			a := ask(t, c, url+path)
			testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
			id := o.only("kept", "running")
			o.post("requests/{id}/cancel", id, "")
			a.want(t, 503)
			o.counts("kept", 1, 1)
			if res, _ := site.Get(t, c, url+"/free"); res.StatusCode != 503 {
				t.Errorf("got %d while the backend works", res.StatusCode)
			}
			if path == "/" {
				up.end(t, 1)
			} else {
				o.post("requests/{id}/cancel", id, "")
				<-up.gone
			}
			o.counts("kept", 0, 0)
		}
	})
	if len(up.gone) > 0 {
		t.Error("an upstream was cancelled by the first")
	}
}

// An abandoned run ends after abandon_timeout, counted from the time when its client left
// or was answered, whichever came first. The connection to the backend is closed.
func TestAbandonedRunsAreGivenUp(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name patient
		concurrency 1
		queue 0
		first_byte_timeout 300ms
		abandon_timeout 600ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, leaves := range []bool{false, true} {
			site.Get(t, c, url+"/free")
			begin := time.Now()
			if leaves {
				site.Leave(t, c, url+"/closed", func() {
					testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
				})
			} else if res, _ := site.Get(t, c, url+"/closed"); res.StatusCode != 504 {
				t.Errorf("got %d", res.StatusCode)
			}
			<-up.gone
			took := time.Since(begin)
			o.counts("patient", 0, 0)
			// A client that leaves is noticed when its run has gone on for a second, or
			// at the timeout, which is sooner.
			if took < 600*time.Millisecond || took > 5*time.Second {
				t.Errorf("leaves %v: given up after %s", leaves, took)
			}
		}
	})
}

// A client that leaves a stream that has begun frees no permit either: the backend has
// still to write the rest.
func TestStreamsThatAreLeftKeepTheirPermits(t *testing.T) {
	up := newBusy()
	s, o := serveOperated(t, up, `
	offload {
		name streamed
		concurrency 2
		queue 0
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 2 {
			res, err := c.Get(url + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		o.counts("streamed", 2, 2)
		for range 5 {
			if res, _ := site.Get(t, c, url+"/stream"); res.StatusCode != 503 {
				t.Errorf("got %d", res.StatusCode)
			}
		}
		if up.Now.Load() != 2 || len(up.gone) > 0 {
			t.Errorf("the upstream has %d, %d cancelled", up.Now.Load(), len(up.gone))
		}
		up.end(t, 2)
		o.counts("streamed", 0, 0)
	})
}

// Of a response without a reader one mebibyte is read. Then its backend is cut.
func TestLongStreamsThatAreLeftAreCut(t *testing.T) {
	var up site.Counter
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}), `
	offload {
		name long
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, res.Body, 100)
		res.Body.Close()
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
		o.counts("long", 0, 0)
	})
}

// A timeout of an outer pool leaves both permits with the backend, until it has ended.
func TestNestedPermitsAreKept(t *testing.T) {
	up := newBusy()
	s, o := serveOperatedWith(t, up, "offload {\n pool outer\n pool inner\n }\n", `
	route {
		offload outer {
			first_byte_timeout 200ms
			abandon_timeout 30s
		}
		offload inner
		reverse_proxy UPSTREAM
	}`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, path := range []string{"/", "/closed"} {
			if res, _ := site.Get(t, c, url+path); res.StatusCode != 504 {
				t.Errorf("got %d", res.StatusCode)
			}
			o.counts("outer", 1, 1)
			o.counts("inner", 1, 1)
			if path == "/" {
				up.end(t, 1)
			} else {
				o.post("requests/{id}/cancel", o.only("outer", "running"), "")
				<-up.gone
			}
			o.counts("outer", 0, 0)
			o.counts("inner", 0, 0)
		}
	})
}
