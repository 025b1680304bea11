//go:build unix

package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// lastLine waits for a line of our logger.
func lastLine(t *testing.T, p *site.Process, msg string) map[string]any {
	t.Helper()
	var last map[string]any
	testkit.Eventually(t, func() bool {
		for _, line := range p.Log() {
			if line["msg"] == msg {
				last = line
			}
		}
		return last != nil
	})
	return last
}

// startLogged runs Caddy in a separate process that logs from level INFO.
func startLogged(t *testing.T, upstream http.Handler, global, body string) *site.Process {
	t.Helper()
	return site.Start(t, upstream, global+"\n\tlog {\n\t\tlevel INFO\n\t}", body, site.Limits{})
}

const (
	exitBegins   = "process exits: admission stopped"
	exitFinished = "process exits: all admitted requests finished"
	exitCut      = "process exits: unfinished requests cut"
)

func wantNumbers(t *testing.T, line map[string]any, want map[string]float64) {
	t.Helper()
	for name, n := range want {
		if line[name] != n {
			t.Errorf("%s: %s is %v, want %v", line["msg"], name, line[name], n)
		}
	}
}

// patience is the timeout of clients of a process that ends: longer than any response.
const patience = 15 * time.Second

// Requests that are in the pool when the process is asked to end finish: those that
// upload, run and wait. Later ones are rejected at once, with Retry-After.
func TestExitFinishesWhatWasAdmitted(t *testing.T) {
	for _, version := range []string{"h1", "h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			work := make(chan struct{})
			release := sync.OnceFunc(func() { close(work) })
			defer release()
			p := startLogged(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				<-work
				io.WriteString(w, "done")
			}), "grace_period 15s", `
	metrics /metrics
	offload /work/* {
		name exits
		concurrency 2
		queue 10
		max_wait off
	}
	reverse_proxy UPSTREAM`)
			c := p.Clients()[version]
			c.Timeout = patience
			url := "https://" + p.Addr + "/work/"
			var admitted, uploading sync.WaitGroup
			for range 6 {
				admitted.Go(func() {
					if res, body := site.Get(t, c, url); res.StatusCode != 200 || body != "done" {
						t.Errorf("one that was admitted got %d %q", res.StatusCode, body)
					}
				})
			}
			body, rest := io.Pipe()
			uploading.Go(func() {
				res, err := c.Post(url, "text/plain", body)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("one that was under way got %d", res.StatusCode)
				}
			})
			io.WriteString(rest, "begin")
			testkit.Eventually(t, func() bool {
				now := scrape(t, p.Site)
				return now[`running{pool="exits"}`] == 2 && now[`waiting{pool="exits"}`] == 4 && now[`uploading{pool="exits"}`] == 1
			})
			p.Signal(syscall.SIGTERM)
			wantNumbers(t, lastLine(t, p, exitBegins), map[string]float64{"running": 2, "waiting": 4, "uploading": 1})
			newcomer := *c
			newcomer.Timeout = time.Second // UDP has no door that could be closed
			if res, err := newcomer.Get(url); err == nil {
				res.Body.Close()
				if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
					t.Errorf("a newcomer got %d %v", res.StatusCode, res.Header)
				}
			}
			rest.Close()
			release()
			admitted.Wait()
			uploading.Wait()
			if code := p.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			line := lastLine(t, p, exitFinished)
			wantNumbers(t, line, map[string]float64{"finished": 7, "cut": 0, "left": 0})
			pools, _ := line["pools"].(map[string]any)
			if of, _ := pools["exits"].(map[string]any); len(pools) != 1 || of["finished"] != 7.0 || of["cut"] != 0.0 {
				t.Errorf("got %v", pools)
			}
		})
	}
}

// After the grace period the remaining requests are cut, and the log has their number.
func TestExitAfterTheGracePeriod(t *testing.T) {
	work := make(chan struct{})
	defer close(work)
	p := startLogged(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-work }), "grace_period 500ms", `
	metrics /metrics
	offload /work/* {
		name exits
		concurrency 1
		max_wait off
	}
	reverse_proxy UPSTREAM`)
	c := p.Clients()["h2"]
	var cut sync.WaitGroup
	for range 3 {
		cut.Go(func() {
			if res, err := c.Get("https://" + p.Addr + "/work/"); err == nil {
				res.Body.Close()
				t.Errorf("got %d", res.StatusCode)
			}
		})
	}
	testkit.Eventually(t, func() bool { return scrape(t, p.Site)[`in_flight{pool="exits"}`] == 3 })
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	cut.Wait()
	wantNumbers(t, lastLine(t, p, exitCut), map[string]float64{"finished": 0, "cut": 3})
}

// Streams of events and upgraded connections end when the process ends: they would exceed
// the grace period.
func TestExitEndsStreams(t *testing.T) {
	p := startLogged(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			tunnel(w)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), "grace_period 1m", `
	offload {
		name streams
		on_abandon finish
	}
	reverse_proxy UPSTREAM`)
	var ended sync.WaitGroup
	follow := func(version string, header http.Header) {
		req, _ := http.NewRequest(http.MethodGet, "https://"+p.Addr, nil)
		req.Header = header
		res, err := p.Clients()[version].Do(req)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 13)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "data: first\n\n" {
			t.Fatalf("got %q, %v", buf, err)
		}
		ended.Go(func() {
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
		})
	}
	for _, version := range []string{"h1", "h2", "h3"} {
		follow(version, http.Header{})
	}
	follow("h1", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}})
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 { // within 20 s
		t.Errorf("exit code %d", code)
	}
	ended.Wait()
	wantNumbers(t, lastLine(t, p, exitFinished), map[string]float64{"finished": 3, "cut": 0})
}

// tunnel upgrades a connection, writes once, and waits for its end.
func tunnel(w http.ResponseWriter) {
	w.Header().Set("Upgrade", "echo")
	w.Header().Set("Connection", "Upgrade")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "data: first\n\n")
	_, _ = io.Copy(io.Discard, conn)
}

// During Caddy's shutdown delay all requests are served as usual, so that load balancers
// have time to notice.
func TestExitWithShutdownDelay(t *testing.T) {
	p := startLogged(t, nil, "shutdown_delay 1s", `
	offload {
		name delayed
	}
	respond "{http.shutting_down}"`)
	c := p.Clients()["h2"]
	p.Signal(syscall.SIGTERM)
	testkit.Eventually(t, func() bool {
		res, body := site.Get(t, c, "https://"+p.Addr)
		if res.StatusCode != 200 {
			t.Fatalf("got %d", res.StatusCode)
		}
		return body == "true"
	})
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lastLine(t, p, exitFinished)
}

// `caddy stop` is the admin endpoint's "stop", and ends the process like a signal.
func TestExitByAdmin(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	p := startLogged(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-work
		io.WriteString(w, "done")
	}), "grace_period 15s", `
	metrics /metrics
	offload /work/* {
		name exits
	}
	reverse_proxy UPSTREAM`)
	c := p.Clients()["h1"]
	var admitted sync.WaitGroup
	admitted.Go(func() {
		if res, body := site.Get(t, c, "https://"+p.Addr+"/work/"); res.StatusCode != 200 || body != "done" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
	testkit.Eventually(t, func() bool { return scrape(t, p.Site)[`running{pool="exits"}`] == 1 })
	var stopping sync.WaitGroup
	stopping.Go(func() { // it answers when all has ended
		if err := p.AskToStop(); err != nil {
			t.Error(err)
		}
	})
	lastLine(t, p, exitBegins)
	release()
	admitted.Wait()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	stopping.Wait()
	wantNumbers(t, lastLine(t, p, exitFinished), map[string]float64{"finished": 1, "cut": 0})
}

// Under load no admitted request is lost: a request that reached the upstream gets its
// response, and one without a response never reached the handler.
func TestExitUnderLoad(t *testing.T) {
	for _, version := range []string{"h1", "h2"} {
		t.Run(version, func(t *testing.T) {
			var seen sync.Map
			var runs atomic.Int64
			p := startLogged(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n, again := seen.LoadOrStore(r.Header.Get("X-Id"), 1); again {
					t.Errorf("%s came %v times", r.Header.Get("X-Id"), n.(int)+1)
				}
				runs.Add(1)
				testkit.Pause(20 * time.Millisecond)
				io.WriteString(w, "done")
			}), "grace_period 15s", `
	offload {
		name exits
		concurrency 4
		queue 100
		max_wait off
	}
	reverse_proxy UPSTREAM`)
			c := p.Clients()[version]
			c.Timeout = patience
			var clients sync.WaitGroup
			var mu sync.Mutex
			answers := map[string]int{} // status by id, zero without an answer
			for n := range 40 {
				clients.Go(func() {
					for i := 0; ; i++ {
						id := fmt.Sprintf("%d-%d", n, i)
						req, _ := http.NewRequest(http.MethodPost, "https://"+p.Addr, strings.NewReader("body"))
						req.Header.Set("X-Id", id)
						req.GetBody = nil // the transport must not try again by itself
						status := 0
						if res, err := c.Do(req); err == nil {
							body, err := readAll(res.Body)
							res.Body.Close()
							if status = res.StatusCode; err != nil || (status == 200 && body != "done") {
								t.Errorf("%s got %q, %v", id, body, err)
							}
						}
						mu.Lock()
						answers[id] = status
						mu.Unlock()
						if status == 0 {
							return // the door is closed
						}
					}
				})
			}
			testkit.Eventually(t, func() bool { return runs.Load() >= 100 })
			p.Signal(syscall.SIGTERM)
			code := p.Wait()
			clients.Wait()
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			handled := map[any]bool{}
			for _, line := range p.AccessLog(1) {
				request, _ := line["request"].(map[string]any)
				headers, _ := request["headers"].(map[string]any)
				if id, ok := headers["X-Id"].([]any); ok {
					handled[id[0]] = true
				}
			}
			for id, status := range answers {
				_, ran := seen.Load(id)
				switch {
				case ran && status != 200:
					t.Errorf("%s has run and got %d", id, status)
				case status == 0 && handled[id]:
					t.Errorf("%s was handled and got no answer", id)
				case status != 0 && status != 200 && status != 503:
					t.Errorf("%s got %d", id, status)
				}
			}
			wantNumbers(t, lastLine(t, p, exitFinished), map[string]float64{"cut": 0, "left": 0})
		})
	}
}

// Uploads in progress when the process is asked to end belong to their pool as runs do,
// also in front of another pool. Those that last longer than the grace period are cut
// and counted.
func TestExitWaitsForUploads(t *testing.T) {
	const nested = `
	metrics /metrics
	route /work/* {
		offload {
			name exits
		}
		offload {
			name inner
		}
		reverse_proxy UPSTREAM
	}`
	for _, version := range []string{"h1", "h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			p := startLogged(t, http.HandlerFunc(echoBody), "grace_period 15s", nested)
			up := beginUpload(t, p.Clients()[version], "https://"+p.Addr+"/work/")
			testkit.Eventually(t, func() bool { return scrape(t, p.Site)[`uploading{pool="exits"}`] == 1 })
			p.Signal(syscall.SIGTERM)
			wantNumbers(t, lastLine(t, p, exitBegins), map[string]float64{"running": 0, "waiting": 0, "uploading": 1})
			up.end()
			up.wantEcho(t)
			if code := p.Wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			wantNumbers(t, lastLine(t, p, exitFinished), map[string]float64{"finished": 2, "cut": 0, "rejected": 0})
		})
	}
	t.Run("cut", func(t *testing.T) {
		p := startLogged(t, http.HandlerFunc(echoBody), "grace_period 500ms", nested)
		up := beginUpload(t, p.Clients()["h1"], "https://"+p.Addr+"/work/")
		testkit.Eventually(t, func() bool { return scrape(t, p.Site)[`uploading{pool="exits"}`] == 1 })
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		up.body.Close()
		up.want(t, 0)
		wantNumbers(t, lastLine(t, p, exitCut), map[string]float64{"finished": 0, "cut": 1})
	})
}

// Abandoned runs do not delay the exit, whether their client was answered or has left:
// no client waits for them.
func TestExitDoesNotWaitForAbandonedRuns(t *testing.T) {
	for _, version := range []string{"h1", "h2", "h3"} {
		t.Run(version, func(t *testing.T) {
			up := newBusy()
			p := startLogged(t, up, "grace_period 1m", `
	metrics /metrics
	offload /timed* {
		name exits
		first_byte_timeout 200ms
	}
	offload /closed {
		name exits-too
		first_byte_timeout off
	}
	reverse_proxy UPSTREAM`)
			defer close(up.work)
			c := p.Clients()[version]
			c.Timeout = patience
			if res, _ := site.Get(t, c, "https://"+p.Addr+"/timed"); res.StatusCode != 504 {
				t.Errorf("got %d", res.StatusCode)
			}
			site.Leave(t, c, "https://"+p.Addr+"/closed", func() {
				testkit.Eventually(t, func() bool { return up.Now.Load() == 2 })
			})
			testkit.Eventually(t, func() bool {
				now := scrape(t, p.Site)
				return now[`abandoned{pool="exits"}`] == 1 && now[`abandoned{pool="exits-too"}`] == 1
			})
			p.Signal(syscall.SIGTERM)
			if code := p.Wait(); code != 0 { // within 20 s
				t.Errorf("exit code %d", code)
			}
			for range 2 {
				<-up.gone
			}
		})
	}
}
