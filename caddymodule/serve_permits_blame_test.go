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

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// The breaker counts a timeout when it happens, while the run still holds its permit, and
// counts each run once.
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

// A client that does not send its body is no failure of the backend, and its run ends with
// its timeout, or with an operator's cancel.
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
			testkit.Eventually(t, func() bool { return up.Now.Load() == 1 })
			id, reason := o.only("stalled", "running"), "run_timeout"
			if operated {
				o.post("requests/{id}/cancel", id, "")
				reason = "cancelled"
			}
			o.counts("stalled", 0, 0)
			testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
			if took := time.Since(begin); !operated && took < time.Second {
				t.Errorf("the permit came back after %s", took)
			}
			if e := o.get("explain/{id}", id); e["reason"] != reason {
				t.Errorf("operated %v: the run ended because of %v", operated, e["reason"])
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
		testkit.Eventually(t, func() bool { return len(o.requests("running", "spooled")) == 0 })
	})
}

// Backends that answer at the moment when the client gets its timeout leave nothing behind:
// each permit is released once, and each run is listed until then, and no longer. How many are
// in the backend says nothing here, since most are given up.
func TestAnswersAtTheTimeout(t *testing.T) {
	var up site.Counter
	s, o := serveOperatedWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.Enter()
		defer up.Leave()
		testkit.Pause(19*time.Millisecond + time.Duration(up.Total.Load()%8)*500*time.Microsecond)
		if r.URL.Path == "/late" {
			io.WriteString(w, "begin")
			http.NewResponseController(w).Flush()
			testkit.Pause(2 * time.Millisecond)
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
		testkit.Eventually(t, func() bool { return len(o.requests("running", pool)) == 0 })
	}
}
