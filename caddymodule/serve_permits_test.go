package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// busy is an upstream that works until it is told to answer, whether its client is
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
	site.Eventually(t, func() bool { return b.Now.Load() == 0 })
}

// counts waits for the pool to have so many runs, of which so many are abandoned.
func (o *operator) counts(pool string, running, abandoned int) {
	o.t.Helper()
	o.eventually(pool, func(p object) bool {
		return p["running"] == float64(running) && p["abandoned"] == float64(abandoned)
	})
}

// A timeout answers the client in full, and at once. Its backend works on, so the permit
// stays taken until it answers: it never has more to do than the limit, however many
// clients come and go.
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
			site.Eventually(t, func() bool { return up.Now.Load() == 1 })
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

// What is abandoned is given up after abandon_timeout, counted from when its client left
// or was answered, whatever came first. The backend's connection is closed.
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
					site.Eventually(t, func() bool { return up.Now.Load() == 1 })
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
		site.Eventually(t, func() bool { return up.Now.Load() == 0 })
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

// The breaker hears of a timeout when it happens, while the backend still has the permit,
// and of one run once.
func TestBreakersHearOfTimeoutsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		words string
		runs  int
	}{
		{"concurrency 4\n breaker {\n consecutive_failures 2\n failure_ratio off\n }", 2},
		{"concurrency 1\n abandon_timeout 100ms", 3},
	} {
		t.Run(fmt.Sprint(tt.runs), func(t *testing.T) {
			up := newBusy()
			s, o := serveOperated(t, up, "offload {\n name hears\n queue 10\n first_byte_timeout 150ms\n"+tt.words+"\n }\n reverse_proxy UPSTREAM")
			defer func() { close(up.work) }()
			c := s.Clients()["h1"]
			for i := range tt.runs {
				o.eventually("hears", func(p object) bool {
					return p["breaker"] == "closed" && (tt.runs == 2 || p["running"] == 0.0)
				})
				if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 504 {
					t.Errorf("%d: got %d", i, res.StatusCode)
				}
			}
			o.eventually("hears", func(p object) bool { return p["breaker"] == "open" })
			if tt.runs == 2 {
				o.counts("hears", 2, 2)
			}
		})
	}
}

// A client whose own body does not come is no failure of the backend, and its run does
// not outlast its timeout, nor an operator's cancel.
func TestStalledUploadsEndWithTheirTimeout(t *testing.T) {
	var up site.Counter
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			up.Enter()
			defer up.Leave()
			io.Copy(io.Discard, r.Body)
		}
	}), `
	offload {
		name stalled
		concurrency 1
		queue 0
		request_spool off
		run_timeout 1s
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, operated := range []bool{false, true} {
			site.Get(t, c, url)
			begin := time.Now()
			body, rest := io.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
			req.ContentLength = 1000
			a := askFor(c, req)
			io.WriteString(rest, "some of it")
			site.Eventually(t, func() bool { return up.Now.Load() == 1 })
			least := time.Second
			if operated {
				o.post("requests/{id}/cancel", o.only("stalled", "running"), "")
				least = 0
			}
			o.counts("stalled", 0, 0)
			site.Eventually(t, func() bool { return up.Now.Load() == 0 })
			if took := time.Since(begin); took < least || took > least+900*time.Millisecond {
				t.Errorf("operated %v: the permit came back after %s", operated, took)
			}
			if p := o.get("pools/{name}", "stalled"); p["breaker"] != "closed" {
				t.Errorf("operated %v: the breaker is %v", operated, p["breaker"])
			}
			rest.CloseWithError(context.Canceled)
			<-a.done
			cancel()
			if res, _ := site.Get(t, c, url); res.StatusCode != 200 {
				t.Errorf("operated %v: then got %d", operated, res.StatusCode)
			}
		}
	})
}

// A backend that reads slowly gets all of a spooled body, also after its client was
// answered.
func TestSpooledBodiesOutliveTheAnswer(t *testing.T) {
	const size = 1 << 20
	read := make(chan int64)
	begin := make(chan struct{})
	s, o := serveOperated(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-begin
		n, _ := io.Copy(io.Discard, r.Body)
		read <- n
	}), `
	offload {
		name spooled
		first_byte_timeout 200ms
		breaker off
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(strings.Repeat("x", size)))
		if res, _ := site.Do(t, c, req); res.StatusCode != 504 {
			t.Errorf("got %d", res.StatusCode)
		}
		o.counts("spooled", 1, 1)
		begin <- struct{}{}
		if n := <-read; n != size {
			t.Errorf("the backend has got %d bytes", n)
		}
		o.counts("spooled", 0, 0)
		site.Eventually(t, func() bool { return len(o.requests("running", "spooled")) == 0 })
	})
}

// Backends that answer just when their run is answered for leave nothing behind: each
// permit comes back once, and each run is listed until then, and no longer.
func TestAnswersAtTheTimeout(t *testing.T) {
	var up site.Counter
	s, o := serveOperatedWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		<-time.After(19*time.Millisecond + time.Duration(up.Total.Load()%8)*500*time.Microsecond)
		if r.URL.Path == "/late" {
			io.WriteString(w, "begin")
			http.NewResponseController(w).Flush()
			<-time.After(2 * time.Millisecond)
		}
	}), "offload {\n pool outer {\n concurrency 30\n breaker off\n }\n pool inner {\n concurrency 10\n queue 100\n breaker off\n }\n }\n", `
	route {
		offload outer {
			run_timeout 100ms
			abandon_timeout 25ms
		}
		offload inner {
			first_byte_timeout 20ms
			abandon_timeout 21ms
		}
		reverse_proxy UPSTREAM
	}`)
	var storm sync.WaitGroup
	for _, c := range s.Clients() {
		for i := range 8 {
			storm.Go(func() {
				for j := range 30 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if i == 0 {
						ctx, cancel = context.WithTimeout(t.Context(), time.Duration(15+j%10)*time.Millisecond)
					}
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.Addr+[]string{"/", "/late"}[j%2], strings.NewReader("body"))
					if res, err := c.Do(req); err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					cancel()
				}
			})
		}
	}
	storm.Wait()
	for _, pool := range []string{"outer", "inner"} {
		o.counts(pool, 0, 0)
		site.Eventually(t, func() bool { return len(o.requests("running", pool)) == 0 })
	}
	if most := up.Most.Load(); most > 10+10 { // those that were given up may be about to end
		t.Errorf("the upstream has had %d at once", most)
	}
}
