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

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Clients that leave before the first byte end no run: the backend is presumed blocked,
// the permit stays taken, and the backend never has more runs than the limit.
func TestLeavingClientsDoNotFreePermits(t *testing.T) {
	var up site.Counter
	work := make(chan struct{})
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		up.Enter()
		defer up.Leave()
		<-work // like a blocked loop: it does not notice that its client left
		io.WriteString(w, "done")
	}), `
	offload {
		name blocked
		concurrency 2
		queue 50
		max_wait 5s
		breaker off
	}
	reverse_proxy UPSTREAM`)
	logged := 0
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		up.Most.Store(0)
		before := up.Total.Load()
		var leaving sync.WaitGroup
		allIn := make(chan struct{})
		leave := sync.OnceFunc(func() { close(allIn) })
		defer leave()
		for range 10 {
			leaving.Go(func() { site.Leave(t, c, url, func() { <-allIn }) })
		}
		o.eventually("blocked", func(p object) bool { return p["waiting"] == 8.0 && up.Now.Load() == 2 })
		leave()
		leaving.Wait()
		logged += 8
		s.AccessLog(logged) // the server knows that they left
		if got := up.Total.Load() - before; got != 2 {
			t.Errorf("%d runs started, want 2: the others left the queue", got)
		}
		for range 2 {
			work <- struct{}{}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, body := site.Get(t, c, url); res.StatusCode != 200 || body != "done" {
				t.Errorf("got %d %q", res.StatusCode, body)
			}
		}()
		work <- struct{}{}
		<-done
		logged += 3
		s.AccessLog(logged)
		if most := up.Most.Load(); most > 2 {
			t.Errorf("the upstream saw %d at once", most)
		}
	})
	left := 0
	for _, line := range s.AccessLog(33) {
		if line["status"] == 499.0 {
			left++
		}
	}
	// Of the runs that were let go on, the server may not know yet that their
	// client has left; those that waited have left the queue because of it.
	if left < 24 {
		t.Errorf("%d were logged with 499, want the 24 that waited at least", left)
	}
}

// on_abandon decides about a run whose client leaves before the first byte.
func TestOnAbandon(t *testing.T) {
	tests := []struct {
		words   string
		notices bool
		cancels bool
	}{
		{"on_abandon auto", false, false},
		{"on_abandon auto", true, true},
		{"on_abandon finish", true, false},
		{"on_abandon cancel", false, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s notices=%v", tt.words, tt.notices), func(t *testing.T) {
			started, release := make(chan struct{}), make(chan struct{})
			cancelled := make(chan bool, 1)
			name := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
				if tt.notices {
					caddymodule.NoticesCancel(r.Context())
				}
				close(started)
				select {
				case <-r.Context().Done():
					cancelled <- true
				case <-release:
					cancelled <- false
				}
				return nil
			})
			s, o := serveOperated(t, nil, "\n\toffload {\n\t\tname abandon\n\t\t"+tt.words+"\n\t}\n\troute {\n\t\t"+name+"\n\t}")
			site.Leave(t, s.Clients()["h2"], "https://"+s.Addr, func() { <-started })
			if !tt.cancels {
				o.eventually("abandon", func(p object) bool { return p["abandoned"] == 1.0 })
				testkit.Quiet(100 * time.Millisecond)
				close(release)
			}
			if got := <-cancelled; got != tt.cancels {
				t.Errorf("cancelled: %v, want %v", got, tt.cancels)
			}
			line := s.AccessLog(1)[0]
			if line["status"] != 499.0 {
				t.Errorf("logged with status %v", line["status"])
			}
		})
	}
}

// A client that leaves just before the first byte ends its run too, once the answer has
// begun: the answer may have no end.
func TestAnswersThatBeginTooLate(t *testing.T) {
	for words, cancels := range map[string]bool{"on_abandon auto": true, "on_abandon finish": false} {
		t.Run(words, func(t *testing.T) {
			begin := make(chan struct{})
			var up site.Counter
			s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				up.Enter()
				defer up.Leave()
				<-begin
				w.Header().Set("Content-Type", "text/event-stream")
				for range 100 { // an endless one, for a test's time
					if _, err := io.WriteString(w, "more"); err != nil || r.Context().Err() != nil {
						return
					}
					http.NewResponseController(w).Flush()
					testkit.Pause(20 * time.Millisecond)
				}
				up.Total.Add(1000) // it came to its end
			}), `
	offload {
		name late-answers
		concurrency 1
		`+words+`
	}
	reverse_proxy UPSTREAM`)
			lines := 0
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				before := up.Total.Load()
				site.Leave(t, c, url, func() {
					testkit.Eventually(t, func() bool { return up.Total.Load() > before })
				})
				o.eventually("late-answers", func(p object) bool { return p["abandoned"] == 1.0 })
				begin <- struct{}{}
				testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
				if ended := up.Total.Load()-before >= 1000; ended == cancels {
					t.Errorf("it came to its end: %v, want %v", ended, !cancels)
				}
				lines++
				if line := s.AccessLog(lines)[lines-1]; line["status"] != 499.0 {
					t.Errorf("logged with status %v", line["status"])
				}
			})
		})
	}
}

// A client that leaves a stream of events ends its run: nothing else would.
func TestLeavingEventsCancels(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), `
	offload {
		name streaming
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
		res.Body.Close()
		testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
	})
}

// A request passes a pool once, even if its route names the pool several times, and takes
// the permits of different pools in their order.
func TestNestedPools(t *testing.T) {
	s := site.ServeGlobal(t, nil, `
	offload {
		pool one {
			concurrency 1
			queue 0
		}
		pool two {
			concurrency 1
			queue 0
		}
	}`, `
	offload one
	route {
		offload one
		offload two
		offload one
		respond "in {http.offload.pool} {http.offload.in_flight}"
	}`)
	c := s.Clients()["h1"]
	for range 3 { // the permits come back each time
		if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 || body != "in two 1" {
			t.Fatalf("got %d %q", res.StatusCode, body)
		}
	}
}

// A storm of all kinds of requests leaves no permit taken and no waiter.
func TestStormEndsAtZero(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "only this")
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/large":
			w.Write(make([]byte, 1<<20))
		case "/error":
			w.WriteHeader(500)
		}
	}), `
	offload {
		name storm
		concurrency 3
		queue 10
		max_wait 300ms
		first_byte_timeout 200ms
		abandon_timeout 200ms
		breaker off
		request_spool 16KiB 64KiB
	}
	respond /state "{http.offload.in_flight}"
	reverse_proxy UPSTREAM`)
	paths := []string{"/hang", "/cut", "/abort", "/large", "/error", "/"}
	var storm sync.WaitGroup
	for _, c := range s.Clients() {
		for i := range 60 {
			storm.Go(func() {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr+paths[i%len(paths)],
					strings.NewReader(strings.Repeat("x", i*2000)))
				res, err := c.Do(req)
				if err != nil {
					return // a cut is a fair answer to some of these
				}
				defer res.Body.Close()
				if i%4 == 0 {
					return // leaves without reading
				}
				_, _ = io.Copy(io.Discard, res.Body)
			})
		}
	}
	storm.Wait()
	c := s.Clients()["h1"]
	testkit.Eventually(t, func() bool {
		_, body := site.Get(t, c, "https://"+s.Addr+"/state")
		return body == "1" // this request itself
	})
}

// A client that leaves in the middle of an upload or a download that is not
// spooled does not count against the backend.
func TestClientFaultsWithoutSpools(t *testing.T) {
	var up site.Counter
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Method == http.MethodPost {
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}), `
	offload {
		name unspooled
		request_spool off
		response_spool off
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			body, writer := io.Pipe()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if res, err := c.Do(req); err == nil {
					res.Body.Close()
				}
			}()
			io.WriteString(writer, "some of it")
			testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
			cancel()
			writer.CloseWithError(context.Canceled)
			<-done
			testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })

			res, err := c.Get(url)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("got %v, %v after an upload was given up", res.StatusCode, err)
			}
			_, _ = io.ReadFull(res.Body, make([]byte, 1<<20))
			res.Body.Close()
			testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
		}
	})
}

// A run whose time for the backend ends while its handler returns is given up too. It used to
// keep its permit, and its backend connection, for as long as the backend worked.
func TestGivenUpWhileTheHandlerReturns(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), `
	offload {
		name givenup
		concurrency 40
		first_byte_timeout 20ms
		abandon_timeout 1us
		breaker off
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	for range 10 {
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { site.Get(t, c, "https://"+s.Addr) })
		}
		all.Wait()
		testkit.Eventually(t, func() bool { return caddymodule.Running("givenup") == 0 })
	}
}
