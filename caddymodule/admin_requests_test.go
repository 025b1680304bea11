package caddymodule_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// The list of requests identifies them and shows none of their secrets.
func TestAdminListsRequests(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	route {
		rewrite /before /after
		offload {
			name listed
			concurrency 1
		}
		rewrite /inner /rewritten
		reverse_proxy UPSTREAM
	}`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	holdOne(t, s, c, "/hold")
	var waiters []*asked
	for i, path := range []string{"/before?token=secret", "/inner", "/c"} {
		waiters = append(waiters, ask(t, c, url+path))
		o.untilWaiting("listed", i+1)
	}
	running, waiting := o.requests("running", "listed"), o.requests("waiting", "listed")
	if len(running) != 1 || running[0]["path"] != "/hold" || running[0]["phase"] != "running" || running[0]["position"] != nil {
		t.Errorf("running: %v", running)
	}
	for i, path := range []string{"/after", "/inner", "/c"} {
		r := waiting[i]
		for field, want := range map[string]any{
			"pool": "listed", "phase": "waiting", "position": float64(i + 1), "class": "default",
			"client": "127.0.0.1", "method": "GET", "host": s.Addr, "path": path, "abandoned": false,
		} {
			if r[field] != want {
				t.Errorf("%s of %s is %v, want %v", field, path, r[field], want)
			}
		}
		if age, inPhase := r["age_ns"].(float64), r["in_phase_ns"].(float64); age <= 0 || inPhase <= 0 || inPhase > age {
			t.Errorf("%s: age %v, in phase %v", path, age, inPhase)
		}
	}
	if all := o.get("waiting", "")["requests"].([]any); len(all) != 3 {
		t.Errorf("all pools: %v", all)
	}
	if all := o.get("running", "")["requests"].([]any); len(all) != 1 {
		t.Errorf("all pools: %v", all)
	}
	o.do(http.MethodPatch, "pools/{name}", "listed", `{"concurrency": "off"}`, 200)
	for _, w := range waiters {
		w.want(t, 200)
	}
	testkit.Eventually(t, func() bool { return len(o.requests("running", "listed")) == 1 })
}

// Queries are shown only with show_query.
func TestAdminShowsQueries(t *testing.T) {
	s, o := serveOperatedWith(t, http.HandlerFunc(blocking), "offload {\n\tshow_query\n}\n", `
	offload {
		name queries
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/hold?id=7")
	if running := o.requests("running", "queries"); len(running) != 1 || running[0]["path"] != "/hold?id=7" {
		t.Errorf("running: %v", running)
	}
	full, _ := site.Get(t, c, "https://"+s.Addr+"/full?id=8")
	if e := o.get("explain/{id}", full.Header.Get("Offload-Request-Id")); e["path"] != "/full?id=8" {
		t.Errorf("explained as %v", e)
	}
}

// only waits for a single request of the pool to be in a phase, and returns its id.
func (o *operator) only(pool, phase string) string {
	o.t.Helper()
	id, list := "", "running"
	if phase == "waiting" {
		list = phase
	}
	testkit.Eventually(o.t, func() bool {
		all := o.requests(list, pool)
		if len(all) != 1 || all[0]["phase"] != phase {
			return false
		}
		id = all[0]["id"].(string)
		return true
	})
	return id
}

// cancel cancels a request, which must be in that phase, and expects it in explain.
func (o *operator) cancel(pool, phase string) {
	o.t.Helper()
	id := o.only(pool, phase)
	got := o.post("requests/{id}/cancel", id, "")
	if got["id"] != id || got["pool"] != pool || got["phase"] != phase {
		o.t.Errorf("cancelled %v, want %s in phase %s", got, id, phase)
	}
	testkit.Eventually(o.t, func() bool {
		e := o.get("explain/{id}", id)
		if e["decision"] == "pending" {
			return false
		}
		if e["decision"] != "cancelled" || e["reason"] != "cancelled" {
			o.t.Errorf("explained as %v", e)
		}
		return true
	})
	o.eventually(pool, func(p object) bool { return p["rejected_total"].(object)["cancelled"] == 1.0 })
}

// upstreamOf answers by path: a head and then nothing, a tunnel, much at once, or
// nothing until the client has gone.
func upstreamOf(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/half":
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/tunnel":
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	case "/much":
		_, _ = w.Write(make([]byte, 64<<20))
	case "/hang":
		<-r.Context().Done()
	}
}

// A request is cancelled in any phase: its client gets the response to a cancel, or half
// of a response, and the pool is as before.
func TestAdminCancelsRuns(t *testing.T) {
	for path, status := range map[string]int{"/hang": 503, "/half": 0} {
		t.Run(path, func(t *testing.T) {
			entered := make(chan struct{}, 1)
			s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				upstreamOf(w, r)
			}), `
	offload {
		name cancels
		breaker {
			consecutive_failures 1
		}
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
			done := 0.0
			s.EachVersion(func(t *testing.T, c *http.Client, url string) {
				o := &operator{t, o.addr}
				a := ask(t, c, url+path)
				id := o.only("cancels", "running")
				testkit.Receive(t, entered) // a run that has sent nothing leaves no backend at work
				if path == "/half" {
					<-a.head
				}
				o.post("requests/{id}/cancel", id, "")
				a.want(t, status)
				if status != 0 && (a.res.Header.Get("Retry-After") != "" || a.res.Header.Get("Offload-Request-Id") != id ||
					a.res.Header.Get("Proxy-Status") != `edge;error=proxy_internal_error;details="cancelled"`) {
					t.Errorf("got %v", a.res.Header)
				}
				done++
				// The backend may still work, so the run keeps its permit.
				o.eventually("cancels", func(p object) bool {
					return p["running"] == 1.0 && p["abandoned"] == 1.0 && p["breaker"] == "closed"
				})
				o.post("requests/{id}/cancel", id, "") // and this ends it
				o.eventually("cancels", func(p object) bool {
					return p["rejected_total"].(object)["cancelled"] == done && p["running"] == 0.0 &&
						p["ended_total"].(object)["excluded"] == done && p["breaker"] == "closed"
				})
			})
		})
	}
}

func TestAdminCancelsWaiters(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name cancels
		concurrency 1
		handle_reject {
			respond "{http.offload.reject_reason} {http.offload.id}" 503
		}
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/hold")
	done := 0.0
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		o := &operator{t, o.addr}
		a := ask(t, c, url)
		id := o.only("cancels", "waiting")
		o.post("requests/{id}/cancel", id, "")
		a.want(t, 503)
		if a.body != "cancelled "+id {
			t.Errorf("got %s", a.body)
		}
		done++
		o.eventually("cancels", func(p object) bool {
			return p["rejected_total"].(object)["cancelled"] == done && p["waiting"] == 0.0
		})
		if e := o.get("explain/{id}", id); e["decision"] != "cancelled" || e["ahead"] != 0.0 || e["waited_ns"].(float64) <= 0 {
			t.Errorf("explained as %v", e)
		}
	})
}

// A cancel does not wait for the end of the body.
func TestAdminCancelsUploads(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name cancels
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		o := &operator{t, o.addr}
		body, writer := io.Pipe()
		defer writer.Close()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
		a := askFor(c, req)
		_, _ = io.WriteString(writer, "begun")
		id := o.only("cancels", "uploading")
		o.post("requests/{id}/cancel", id, "")
		a.want(t, 503)
		testkit.Eventually(t, func() bool { return o.get("explain/{id}", id)["decision"] == "cancelled" })
	})
}

// The rest of a response that its client does not take is cut short.
func TestAdminCancelsTheRest(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name cancels
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		o := &operator{t, o.addr}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/much", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		id := o.only("cancels", "streaming")
		if p := o.get("pools/{name}", "cancels"); p["running"] != 0.0 {
			t.Errorf("the pool is %v", p)
		}
		o.post("requests/{id}/cancel", id, "")
		if n, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Errorf("got all %d bytes", n)
		}
		testkit.Eventually(t, func() bool { return o.get("explain/{id}", id)["decision"] == "cancelled" })
	})
}

func TestAdminCancelsTunnels(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(upstreamOf), `
	offload {
		name cancels
	}
	reverse_proxy UPSTREAM`)
	conn, err := net.Dial("tcp", s.Clear)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /tunnel HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", s.Clear)
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatalf("got %q, %v", line, err)
	}
	o.cancel("cancels", "upgraded")
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("the tunnel ended with %v", err)
	}
	o.eventually("cancels", func(p object) bool { return p["upgraded"] == 0.0 })
}

// The client of a run that ignores its cancel is answered, and the run keeps its permit.
func TestAdminCancelsStuckRuns(t *testing.T) {
	hang := make(chan struct{})
	behind := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		<-hang
		return nil
	})
	s, o := serveOperated(t, nil, "\toffload {\n\t\tname cancels\n\t}\n\t"+behind)
	a := ask(t, s.Clients()["h1"], "https://"+s.Addr)
	id := o.only("cancels", "running")
	o.post("requests/{id}/cancel", id, "")
	a.want(t, 503)
	if got := a.res.Header.Get("Offload-Request-Id"); got != id {
		t.Errorf("the answer is for %s, want %s", got, id)
	}
	if p := o.get("pools/{name}", "cancels"); p["abandoned"] != 1.0 || p["running"] != 1.0 {
		t.Errorf("the pool is %v", p)
	}
	r := o.requests("running", "cancels")[0]
	if r["abandoned"] != true || r["reason"] != "cancelled" {
		t.Errorf("listed as %v", r)
	}
	if e := o.get("explain/{id}", id); e["decision"] != "pending" || e["phase"] != "running" || e["reason"] != "cancelled" {
		t.Errorf("explained as %v", e)
	}
	o.do(http.MethodPost, "requests/{id}/cancel", id, "", 409)
	close(hang)
	o.eventually("cancels", func(p object) bool { return p["abandoned"] == 0.0 && p["running"] == 0.0 })
	if e := o.get("explain/{id}", id); e["decision"] != "cancelled" {
		t.Errorf("explained as %v", e)
	}
}

// A request in nested pools has one id, and is cancelled as a whole.
func TestAdminCancelsNestedRuns(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	route {
		offload {
			name outer
			concurrency 2
		}
		offload {
			name inner
			concurrency 1
		}
		reverse_proxy UPSTREAM
	}`)
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/hold")
	a := ask(t, c, "https://"+s.Addr+"/nested")
	id := o.only("inner", "waiting")
	if got := o.post("requests/{id}/cancel", id, ""); got["pool"] != "outer" || got["phase"] != "running" {
		t.Errorf("cancelled %v", got)
	}
	a.want(t, 503)
	if got := a.res.Header.Get("Offload-Request-Id"); got != id {
		t.Errorf("the answer is for %s, want %s", got, id)
	}
	o.untilWaiting("inner", 0)
	if p := o.get("pools/{name}", "inner"); p["left_total"] != 1.0 {
		t.Errorf("the inner pool is %v", p)
	}
}

// The pool notices that a client has left a run that continues, although no handler
// watches the connection.
func TestAdminShowsAbandonedRuns(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name leaves
		on_abandon finish
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		o := &operator{t, o.addr}
		busy := make(chan struct{})
		blockUntil["/busy"] = busy
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/busy", nil)
		a := askFor(c, req)
		id := o.only("leaves", "running")
		if p := o.get("pools/{name}", "leaves"); p["abandoned"] != 0.0 {
			t.Errorf("the pool is %v", p)
		}
		leave()
		<-a.done
		o.eventually("leaves", func(p object) bool { return p["abandoned"] == 1.0 && p["running"] == 1.0 })
		if r := o.requests("running", "leaves")[0]; r["abandoned"] != true {
			t.Errorf("listed as %v", r)
		}
		close(busy)
		o.eventually("leaves", func(p object) bool { return p["abandoned"] == 0.0 && p["running"] == 0.0 })
		testkit.Eventually(t, func() bool { return o.get("explain/{id}", id)["decision"] == "abandoned" })
	})
}

// Decisions are recorded with the numbers of that moment.
func TestAdminExplains(t *testing.T) {
	s, o := serveOperatedWith(t, http.HandlerFunc(blocking), "offload {\n\texplain 3\n}", `
	offload {
		name explains
		concurrency 1
		queue 1
		max_wait 3s
		order fifo
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	site.Get(t, c, url+"/") // a run that has ended makes predictions possible
	holdOne(t, s, c, "/hold")
	late := ask(t, c, url+"/late?token=secret")
	o.untilWaiting("explains", 1)
	full, _ := site.Get(t, c, url+"/full?token=secret")
	late.want(t, 503)
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/left", nil)
	left := askFor(c, req)
	o.untilWaiting("explains", 1)
	leave()
	<-left.done

	e := o.get("explain/{id}", full.Header.Get("Offload-Request-Id"))
	then := object{"running": 1.0, "limit": 1.0, "waiting": 1.0, "queue_limit": 1.0, "breaker": "closed"}
	for field, want := range map[string]any{
		"pool": "explains", "client": "127.0.0.1", "method": "GET", "host": s.Addr, "path": "/full",
		"decision": "rejected", "reason": "queue_full", "text": "all permits are taken and the queue is full", "ahead": 1.0,
	} {
		if e[field] != want {
			t.Errorf("%s is %v, want %v", field, e[field], want)
		}
	}
	if fmt.Sprint(e["then"]) != fmt.Sprint(then) || e["predicted_wait_ns"].(float64) <= 0 {
		t.Errorf("explained as %v", e)
	}
	e = o.get("explain/{id}", late.res.Header.Get("Offload-Request-Id"))
	if e["reason"] != "wait_timeout" || e["ahead"] != 0.0 || e["waited_ns"].(float64) < float64(3*time.Second) || e["path"] != "/late" {
		t.Errorf("explained as %v", e)
	}
	var decisions []string
	testkit.Eventually(t, func() bool {
		decisions = nil
		for _, e := range o.get("explain", "")["explanations"].([]any) {
			decisions = append(decisions, e.(object)["decision"].(string))
		}
		return len(decisions) == 3
	})
	if got := strings.Join(decisions, " "); got != "left rejected rejected" {
		t.Errorf("the last are %s", got)
	}
	site.Get(t, c, url+"/one-more")
	o.do(http.MethodGet, "explain/{id}", full.Header.Get("Offload-Request-Id"), "", 404)
}
