package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// stepped is a backend whose runs end one by one, as the test says.
type stepped struct {
	next chan struct{} // ends one run
	open chan struct{} // closed to end all

	mu    sync.Mutex
	begun []string // the field X-Name of requests in the order of their runs
	body  []string
}

func newStepped(t *testing.T) *stepped {
	t.Helper()
	s := &stepped{next: make(chan struct{}), open: make(chan struct{})}
	t.Cleanup(s.release)
	return s
}

// release ends all runs.
func (s *stepped) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.open:
	default:
		close(s.open)
	}
}

func (s *stepped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.begun = append(s.begun, r.Header.Get("X-Name"))
	s.body = append(s.body, string(body))
	s.mu.Unlock()
	select {
	case <-s.next:
	case <-s.open:
	case <-r.Context().Done():
	}
}

// names returns which runs have begun.
func (s *stepped) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

func (s *stepped) untilBegun(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, func() bool { return len(s.names()) >= n })
}

// askAs sends a request with fields, given as "Name: value".
func askAs(t *testing.T, c *http.Client, url, body string, fields ...string) *asked {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	return askFor(c, req)
}

// wantAll waits for answers.
func wantAll(t *testing.T, status int, all ...*asked) {
	t.Helper()
	for _, a := range all {
		a.want(t, status)
	}
}

// A client with many requests does not keep a modest one waiting: the modest one is served
// in between, although it came last.
func TestGreedyClientBesideAModestOne(t *testing.T) {
	for _, version := range []string{"h1", "h2"} {
		t.Run(version, func(t *testing.T) {
			up := newStepped(t)
			s, o := serveOperated(t, up, `
	offload {
		name fair
		concurrency 1
		max_wait off
		fair_by {header.X-Tenant}
	}
	reverse_proxy UPSTREAM`)
			c := s.Clients()[version]
			var all []*asked
			send := func(tenant string, n int) {
				for range n {
					waiting := len(all)
					all = append(all, askAs(t, c, "https://"+s.Addr+"/x", "", "X-Tenant: "+tenant, "X-Name: "+tenant))
					o.eventually("fair", func(p object) bool { return p["waiting"] == float64(waiting) && p["running"] == 1.0 })
				}
			}
			send("greedy", 11)
			send("modest", 2)
			for n := range len(all) {
				up.untilBegun(t, n+1)
				up.next <- struct{}{}
			}
			wantAll(t, 200, all...)
			order := up.names()
			last := len(order) - 1 - slices.Index(reversed(order), "modest")
			if slices.Index(order, "modest") != 1 || last > 5 {
				t.Errorf("served in the order %v", order)
			}
		})
	}
}

func reversed(all []string) []string {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// A key holds at most so many permits, and its other requests stand aside. All lists show
// the key.
func TestPermitsOfAKey(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperated(t, up, `
	offload {
		name bounded
		concurrency 3
		fair_by {header.X-Tenant}
		per_key 1
	}
	reverse_proxy UPSTREAM`)
	for _, version := range []string{"h1", "h2"} {
		c := s.Clients()[version]
		send := func(tenant string) *asked {
			return askAs(t, c, "https://"+s.Addr+"/"+version, "", "X-Tenant: "+tenant)
		}
		before := len(up.names())
		all := []*asked{send("greedy"), send("greedy"), send("greedy")}
		o.eventually("bounded", func(p object) bool { return p["running"] == 1.0 && p["waiting"] == 2.0 })
		all = append(all, send("modest"))
		up.untilBegun(t, before+2)
		for _, r := range o.requests("waiting", "bounded") {
			if r["key"] != "greedy" || r["aside"] != true || r["class"] != "default" {
				t.Errorf("waiting: %v", r)
			}
			e := o.get("explain/{id}", r["id"].(string))
			if text := fmt.Sprint(e["sentences"]); !strings.Contains(text, "key \"greedy\" holds as many permits as `per_key` allows") {
				t.Errorf("explained as %s", text)
			}
		}
		if got := o.offload("waiting", "bounded"); !strings.Contains(got, "CLASS    KEY     CLIENT") || !strings.Contains(got, "  greedy  ") {
			t.Errorf("got %s", got)
		}
		if n := len(o.requests("running", "bounded")); n != 2 {
			t.Errorf("%d run", n)
		}
		for range all {
			up.next <- struct{}{}
		}
		wantAll(t, 200, all...)
	}
}

// An operator changes the bounds of keys in a pool that has keys, and in no other.
func TestBoundsOfKeysAreOverridden(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperated(t, up, `
	offload /keys {
		name keyed
		fair_by {header.X-Tenant}
		per_key 1
	}
	offload /plain {
		name plain
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	all := []*asked{
		askAs(t, c, "https://"+s.Addr+"/keys", "", "X-Tenant: a"),
		askAs(t, c, "https://"+s.Addr+"/keys", "", "X-Tenant: a"),
	}
	o.untilWaiting("keyed", 1)
	if got := o.offload("set", "keyed", "per_key=2", "queue_per_key=7"); !strings.Contains(got, "per_key 2 (configured 1), queue_per_key 7 (configured off)") {
		t.Errorf("got %s", got)
	}
	up.untilBegun(t, 2)
	up.release()
	wantAll(t, 200, all...)
	answer := o.do(http.MethodPatch, "pools/{name}", "plain", `{"per_key": 2}`, 400)
	if want := "pool 'plain' does not count by key: configure 'fair_by', 'per_key' or 'queue_per_key' first"; answer["error"] != want {
		t.Errorf("got %v", answer)
	}
}

// A key has so many places in the queue, whatever the address of its client; others wait.
func TestPlacesOfAKey(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperated(t, up, `
	offload {
		name places
		concurrency 1
		queue_per_key 1
		key {header.X-User}
		proxy_status_name edge
	}
	reverse_proxy UPSTREAM`)
	for _, version := range []string{"h1", "h2"} {
		c := s.Clients()[version]
		send := func(user string) *asked {
			return askAs(t, c, "https://"+s.Addr+"/x", "", "X-User: "+user)
		}
		all := []*asked{send("greedy")}
		o.eventually("places", func(p object) bool { return p["running"] == 1.0 })
		all = append(all, send("greedy"))
		o.untilWaiting("places", 1)
		rejected := send("greedy")
		rejected.want(t, 503)
		wantRejection(t, o, rejected, "key_queue_full", "1 request of its key waited, and `queue_per_key` allows no more")
		all = append(all, send("modest"))
		o.untilWaiting("places", 2)
		for range all {
			up.next <- struct{}{}
		}
		wantAll(t, 200, all...)
	}
}

// wantRejection checks the answer to a rejected request, and what explains it.
func wantRejection(t *testing.T, o *operator, a *asked, reason, sentence string) object {
	t.Helper()
	h := a.res.Header
	if h.Get("Retry-After") == "" || !strings.Contains(h.Get("Proxy-Status"), reason) {
		t.Errorf("%s: got %v", reason, h)
	}
	e := o.get("explain/{id}", h.Get("Offload-Request-Id"))
	if text := fmt.Sprint(e["sentences"]); e["reason"] != reason || !strings.Contains(text, sentence) {
		t.Errorf("explained as %v: %s", e["reason"], text)
	}
	return e
}

// urgentPool has two classes and one place.
const urgentPool = `offload {
	pool urgent {
		concurrency 1
		queue 1
		classes interactive:8 batch:1
	}
}`

// A more urgent request takes the place of a less urgent one in a full queue, which is
// answered at once. Metrics and lists have the classes.
func TestUrgentRequestsDisplaceOthers(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperatedWith(t, up, urgentPool, `
	metrics /metrics
	offload /batch urgent {
		class batch
		proxy_status_name edge
	}
	offload /any urgent {
		class {header.X-Class}
	}
	offload /first urgent
	reverse_proxy UPSTREAM`)
	for round, version := range []string{"h1", "h2"} {
		c, url := s.Clients()[version], "https://"+s.Addr
		held := askAs(t, c, url+"/first", "")
		o.eventually("urgent", func(p object) bool { return p["running"] == 1.0 })
		batch := askAs(t, c, url+"/batch", "")
		o.untilWaiting("urgent", 1)
		if r := o.requests("waiting", "urgent")[0]; r["class"] != "batch" {
			t.Errorf("waiting: %v", r)
		}
		urgent := askAs(t, c, url+"/any", "", "X-Class: interactive")
		batch.want(t, 503)
		o.untilWaiting("urgent", 1)
		e := wantRejection(t, o, batch, "displaced", "of class interactive, is more urgent and got its place")
		if e["class"] != "batch" || !strings.Contains(fmt.Sprint(e["sentences"]), "It was of class batch.") {
			t.Errorf("explained as %v", e)
		}
		late := askAs(t, c, url+"/any", "", "X-Class: batch")
		late.want(t, 503)
		if got := o.offload("waiting"); !strings.Contains(got, "  interactive  ") {
			t.Errorf("got %s", got)
		}
		n := float64(round)
		scrape(t, s).want(t, map[string]float64{
			"class_waiting{class=interactive,pool=urgent}":        1,
			"class_running{class=interactive,pool=urgent}":        1,
			"class_running{class=batch,pool=urgent}":              0,
			"class_admitted_total{class=interactive,pool=urgent}": 2*n + 1,
			"class_rejected_total{class=interactive,pool=urgent}": 0,
			"class_rejected_total{class=batch,pool=urgent}":       2*n + 2,
		})
		if got := o.offload("pool", "urgent"); !strings.Contains(got, "class                batch: 0 running, 0 waiting, 0 admitted, ") {
			t.Errorf("got %s", got)
		}
		up.next <- struct{}{}
		up.next <- struct{}{}
		wantAll(t, 200, held, urgent)
	}
}

// A client has no class but the one of its route: a value that the pool does not list is
// the default class, and a header that no route names changes nothing.
func TestClientsCannotRaiseThemselves(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperatedWith(t, up, urgentPool[:strings.Index(urgentPool, "classes")]+"classes interactive:8 normal:4 batch:1\n}\n}", `
	offload /any urgent {
		class {header.X-Class}
	}
	offload urgent
	reverse_proxy UPSTREAM`)
	c, url := s.Clients()["h2"], "https://"+s.Addr
	held := askAs(t, c, url, "", "X-Class: interactive", "Priority: u=0")
	o.eventually("urgent", func(p object) bool { return p["running"] == 1.0 })
	other := askAs(t, c, url+"/any", "", "X-Class: most-urgent")
	o.untilWaiting("urgent", 1)
	for _, r := range slices.Concat(o.requests("running", "urgent"), o.requests("waiting", "urgent")) {
		if r["class"] != "normal" {
			t.Errorf("got %v", r)
		}
	}
	up.release()
	wantAll(t, 200, held, other)
}

// A request takes as many permits as its route says: by a number, a field of the request, or
// a field of its body, which the backend gets whole.
func TestCosts(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperatedWith(t, up, "offload {\npool costs {\nconcurrency 8\n}\n}", `
	offload /number costs {
		cost 3
	}
	offload /header costs {
		cost {header.X-Cost}
	}
	offload /json costs {
		cost json max_tokens/1024
	}
	offload /unspooled costs {
		cost json max_tokens/1024
		request_spool off
	}
	offload costs
	reverse_proxy UPSTREAM`)
	large := `{"prompt": "` + strings.Repeat("word ", 200_000) + `", "max_tokens": 4096}` // in a file of the spool
	for _, version := range []string{"h1", "h2"} {
		c := s.Clients()[version]
		for _, test := range []struct {
			path, body, field string
			want              float64
		}{
			{path: "/", want: 1},
			{path: "/number", want: 3},
			{path: "/header", field: "X-Cost: 2", want: 2},
			{path: "/header", field: "X-Cost: 1.2", want: 2},
			{path: "/header", field: "X-Cost: many", want: 1},
			{path: "/header", want: 1},
			{path: "/header", field: "X-Cost: 1000", want: 8},
			{path: "/json", body: `{"max_tokens": 3000}`, want: 3},
			{path: "/json", body: large, want: 4},
			{path: "/json", body: `{"max_tokens": "3000"}`, want: 1},
			{path: "/json", body: "max_tokens=3000", want: 1},
			{path: "/json", want: 1},
			{path: "/unspooled", body: `{"max_tokens": 3000}`, want: 1},
		} {
			before := len(up.names())
			fields := []string{"Content-Type: application/json"}
			if test.field != "" {
				fields = append(fields, test.field)
			}
			a := askAs(t, c, "https://"+s.Addr+test.path, test.body, fields...)
			up.untilBegun(t, before+1)
			if got := o.get("pools/{name}", "costs")["running"]; got != test.want {
				t.Errorf("%s of %s %.40q %s: %v permits, want %v", version, test.path, test.body, test.field, got, test.want)
			}
			up.next <- struct{}{}
			a.want(t, 200)
			o.eventually("costs", func(p object) bool { return p["running"] == 0.0 })
			if got := up.body[before]; got != test.body {
				t.Errorf("%s of %s: the backend got %d bytes, want %d", version, test.path, len(got), len(test.body))
			}
		}
	}
}

// A request that costs more than the free permits waits for them, and no cheap one starts
// before it. The lists show its cost.
func TestExpensiveRequestsAreServedInTurn(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperatedWith(t, up, "offload {\npool costs {\nconcurrency 2\n}\n}", `
	offload /large costs {
		cost 2
	}
	offload costs
	reverse_proxy UPSTREAM`)
	c, url := s.Clients()["h1"], "https://"+s.Addr
	all := []*asked{askAs(t, c, url, "", "X-Name: held")}
	up.untilBegun(t, 1)
	all = append(all, askAs(t, c, url+"/large", "", "X-Name: large"))
	o.untilWaiting("costs", 1)
	all = append(all, askAs(t, c, url, "", "X-Name: cheap"))
	o.untilWaiting("costs", 2)
	if r := o.requests("waiting", "costs")[0]; r["cost"] != 2.0 {
		t.Errorf("waiting: %v", r)
	}
	if got := o.offload("waiting"); !strings.Contains(got, "COST") {
		t.Errorf("got %s", got)
	}
	for n := range all {
		up.untilBegun(t, n+1)
		up.next <- struct{}{}
	}
	wantAll(t, 200, all...)
	if got := up.names(); !slices.Equal(got, []string{"held", "large", "cheap"}) {
		t.Errorf("served in the order %v", got)
	}
}

// A reload changes the classes under waiters: they stay, and those whose class is gone are
// of the default one.
func TestReloadChangesClasses(t *testing.T) {
	up := newStepped(t)
	const body = `
	metrics /metrics
	offload /x {
		name classes
		concurrency 1
		%s
		class {header.X-Class}
	}
	reverse_proxy UPSTREAM`
	s, o := serveOperated(t, up, fmt.Sprintf(body, "classes interactive:8 batch:1"))
	c, url := s.Clients()["h1"], "https://"+s.Addr+"/x"
	all := []*asked{askAs(t, c, url, "", "X-Name: held")}
	up.untilBegun(t, 1)
	for n, class := range []string{"batch", "interactive"} {
		all = append(all, askAs(t, c, url, "", "X-Name: "+class, "X-Class: "+class))
		o.untilWaiting("classes", n+1)
	}
	s.Load(fmt.Sprintf(body, "classes urgent:9 batch:4 normal:1"))
	all = append(all, askAs(t, c, url, "", "X-Name: urgent", "X-Class: urgent"))
	o.untilWaiting("classes", 3)
	got := map[any]int{}
	for _, r := range o.requests("waiting", "classes") {
		got[r["class"]]++
	}
	if got["urgent"] != 1 || got["batch"] != 1 || got["normal"] != 1 {
		t.Errorf("waiting: %v", got)
	}
	scrape(t, s).want(t, map[string]float64{
		"class_waiting{class=urgent,pool=classes}": 1,
		"class_waiting{class=batch,pool=classes}":  1,
		"class_waiting{class=normal,pool=classes}": 1,
	})
	up.release()
	wantAll(t, 200, all...)
}

// A kept turn is that of the key: a user comes back from another address at its turn, and is
// served before a user that waits without one.
func TestTurnsAreOfTheKey(t *testing.T) {
	up := newStepped(t)
	s, o := serveOperatedWith(t, up, "servers {\n trusted_proxies static 127.0.0.0/8 ::1/128\n }", `
	offload {
		name turns
		concurrency 1
		queue 1
		fair_by {header.X-User}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	send := func(user, address string) *asked {
		return askAs(t, c, "https://"+s.Addr+"/x", "", "X-User: "+user, "X-Forwarded-For: "+address, "X-Name: "+user)
	}
	held := send("a", "10.0.0.1")
	up.untilBegun(t, 1)
	waiter := send("b", "10.0.0.2")
	o.untilWaiting("turns", 1)
	rejected := send("c", "10.0.0.3")
	rejected.want(t, 503)
	seconds, err := strconv.Atoi(rejected.res.Header.Get("Retry-After"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Pause(time.Duration(seconds) * time.Second)
	send("d", "10.0.0.3").want(t, 503) // it has the address and not the turn
	back := send("c", "10.0.0.4")
	waiter.want(t, 503)
	up.release()
	wantAll(t, 200, held, back)
}
