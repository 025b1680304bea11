package caddymodule_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Names of pools may hold anything, and the path still finds them.
func TestAdminFindsPoolsOfAnyName(t *testing.T) {
	names := []string{"/", "//", "..", "a/b", "example.com /report/* #2", "50%", "ünï ☃", "a?b#c&d=e+f", "{name}", "override"}
	var body strings.Builder
	for _, name := range names {
		body.WriteString("\toffload {\n\t\tname \"" + name + "\"\n\t}\n")
	}
	_, o := serveOperated(t, nil, body.String()+"\trespond ok")
	var listed []string
	for _, pool := range o.get("pools", "")["pools"].([]any) {
		listed = append(listed, pool.(object)["name"].(string))
	}
	if want := slices.Sorted(slices.Values(names)); !slices.Equal(listed, want) {
		t.Errorf("listed %q, want %q", listed, want)
	}
	for _, name := range names {
		path := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
		res, text := o.raw(http.MethodGet, "/offload/pools/"+path, "")
		if res.StatusCode != 200 || !strings.Contains(string(text), `"name":`) {
			t.Errorf("%s: got %d %s", name, res.StatusCode, text)
		}
	}
}

// Errors are JSON, and name the cure.
func TestAdminErrors(t *testing.T) {
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname a\n\t}\n\toffload {\n\t\tname b\n\t}\n\trespond ok")
	for name, test := range map[string]struct {
		method, path, name, body string
		status                   int
		want                     string
	}{
		"unknown pool":        {"GET", "pools/{name}", "c", "", 404, "no pool 'c'; known pools: 'a', 'b'"},
		"unknown pool, list":  {"GET", "pools/{name}/waiting", "c", "", 404, "no pool 'c'; known pools: 'a', 'b'"},
		"unknown pool, drain": {"POST", "pools/{name}/drain", "c", "", 404, "no pool 'c'; known pools: 'a', 'b'"},
		"no JSON":             {"PATCH", "pools/{name}", "a", "concurrency 5", 400, "bad body: want a JSON object of settings: "},
		"nothing":             {"PATCH", "pools/{name}", "a", "{}", 400, "no setting to change: want one or more of concurrency, queue, max_wait, order, linger"},
		"unknown setting":     {"PATCH", "pools/{name}", "a", `{"breaker": "off"}`, 400, "unknown setting 'breaker': want one of concurrency, queue, max_wait, order, linger"},
		"unknown null":        {"PATCH", "pools/{name}", "a", `{"breaker": null}`, 400, "unknown setting 'breaker'"},
		"concurrency":         {"PATCH", "pools/{name}", "a", `{"concurrency": 0}`, 400, "bad concurrency value '0': want a whole number from 1 to 2147483647, or 'off'"},
		"concurrency, kind":   {"PATCH", "pools/{name}", "a", `{"concurrency": [5]}`, 400, "bad concurrency value '[5]'"},
		"queue":               {"PATCH", "pools/{name}", "a", `{"queue": -1}`, 400, "bad queue value '-1': want a whole number from 0 to 2147483647"},
		"max_wait":            {"PATCH", "pools/{name}", "a", `{"max_wait": 10}`, 400, "bad max_wait value '10': want a duration such as 10s, or 'off'"},
		"order":               {"PATCH", "pools/{name}", "a", `{"order": "lifo"}`, 400, "bad order value 'lifo': want auto or fifo"},
		"linger":              {"PATCH", "pools/{name}", "a", `{"linger": "0s"}`, 400, "bad linger value '0s': want more than zero, or 'off'"},
		"one of two":          {"PATCH", "pools/{name}", "a", `{"queue": 5, "order": "lifo"}`, 400, "bad order value 'lifo'"},
		"too large":           {"PATCH", "pools/{name}", "a", strings.Repeat(" ", 65<<10), 413, "the body is larger than 65536 bytes"},
		"state":               {"POST", "pools/{name}/breaker", "a", `{"state": "ajar"}`, 400, "bad state: unknown state 'ajar' of a breaker: want 'open', 'closed' or 'auto'"},
		"no state":            {"POST", "pools/{name}/breaker", "a", "", 400, "bad state: unknown state ''"},
		"unknown field":       {"POST", "pools/{name}/breaker", "a", `{"stat": "open"}`, 400, `bad body: json: unknown field "stat"`},
		"wait":                {"POST", "pools/{name}/drain", "a", `{"wait": "soon"}`, 400, "bad wait value 'soon': want a duration such as 10s"},
		"long wait":           {"POST", "pools/{name}/drain", "a", `{"wait": "2h"}`, 400, "bad wait value '2h': want 1h0m0s at most"},
		"no id":               {"POST", "requests/{id}/cancel", "me", "", 404, "no request 'me': that is not an id"},
		"unknown id":          {"POST", "requests/{id}/cancel", "0123456789abc", "", 404, "no request '0123456789abc': it has ended, or there never was one"},
		"explain no id":       {"GET", "explain/{id}", "me", "", 404, "no request 'me': that is not an id"},
		"explain unknown id":  {"GET", "explain/{id}", "0123456789abc", "", 404, "nothing is known of request '0123456789abc'"},
	} {
		got, _ := o.do(test.method, test.path, test.name, test.body, test.status)["error"].(string)
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: error %q, want %q", name, got, test.want)
		}
	}
	if p := o.get("pools/{name}", "a"); p["overridden"] != nil || p["phase"] != "open" || p["breaker_forced"] != false {
		t.Errorf("after all these errors the pool is %v", p)
	}
	for _, path := range []string{"/offload/", "/offload/pool", "/offload/pools/", "/offload/pools/a/", "/offload/pools/a/b", "/offload/explain/a/b"} {
		if res, text := o.raw(http.MethodGet, path, ""); res.StatusCode != 404 || !strings.Contains(string(text), "nothing at "+path) {
			t.Errorf("%s: got %d %s", path, res.StatusCode, text)
		}
	}
	if res, text := o.raw(http.MethodGet, "/offload/explain?limit=0", ""); res.StatusCode != 400 || !strings.Contains(string(text), "bad limit value '0'") {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}

// Every path accepts the documented methods, and lists them.
func TestAdminMethods(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname a\n\t}\n\trespond ok")
	for path, item := range doc.Paths.Map() {
		if strings.HasPrefix(path, "/offload/jobs") {
			continue // of the plugin for jobs
		}
		want := strings.Join(slices.Sorted(maps.Keys(item.Operations())), ", ")
		res, text := o.raw("PURGE", strings.NewReplacer("{name}", "a", "{id}", "0123456789abc").Replace(path), "")
		if res.StatusCode != 405 || res.Header.Get("Allow") != want || !strings.Contains(string(text), "method PURGE is not allowed here: want "+want) {
			t.Errorf("%s: got %d, allow %q, want %q: %s", path, res.StatusCode, res.Header.Get("Allow"), want, text)
		}
	}
	if res, text := o.raw(http.MethodHead, "/offload/pools", ""); res.StatusCode != 200 || len(text) > 0 {
		t.Errorf("HEAD: got %d %s", res.StatusCode, text)
	}
}

func TestAdminShowsSettings(t *testing.T) {
	_, o := serveOperated(t, nil, `
	offload {
		name shown
		concurrency off
		queue 7
		max_wait 90s
		linger 1500ms
		breaker {
			failure_ratio off
			consecutive_failures 3
			slow_ratio 0.5 2s
			cool_down 1h
		}
	}
	offload {
		name plain
		breaker off
		max_wait off
	}
	respond ok`)
	want := object{
		"concurrency": "off", "queue": 7.0, "max_wait": "1m30s", "order": "auto", "linger": "1.5s",
		"breaker": object{
			"failure_ratio": "off", "min_requests": 20.0, "consecutive_failures": 3.0, "window": "3m",
			"slow_ratio": "0.5 2s", "statuses": "5xx", "hold": "off",
			"cool_down": "1h", "probes": 1.0, "probe_timeout": "1m1s", "scope": "pool",
		},
	}
	got := o.get("pools/{name}", "shown")["settings"].(object)
	for word, value := range want {
		if word == "breaker" {
			if breaker, _ := got[word].(object); !maps.Equal(breaker, value.(object)) {
				t.Errorf("breaker is %v, want %v", got[word], value)
			}
		} else if got[word] != value {
			t.Errorf("%s is %v, want %v", word, got[word], value)
		}
	}
	plain := o.get("pools/{name}", "plain")["settings"].(object)
	if plain["breaker"] != "off" || plain["max_wait"] != "off" || plain["concurrency"] != 8.0 {
		t.Errorf("settings are %v", plain)
	}
	if usage := o.get("spool", "")["usage"].(object); usage["uploads"] != 0.0 {
		t.Errorf("usage is %v", usage)
	}
}

// Overrides take effect at once, stay during reloads that do not change the pool, and end
// with a reload that does, or with a reset.
func TestAdminOverrides(t *testing.T) {
	body := func(words string) string {
		return "\toffload {\n\t\tname over\n\t\tconcurrency 1\n\t\t" + words + "\n\t}\n\treverse_proxy UPSTREAM"
	}
	s, o := serveOperated(t, http.HandlerFunc(blocking), body(""))
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/hold")
	waiter := ask(t, c, "https://"+s.Addr)
	o.untilWaiting("over", 1)
	wantForce := func(step string, concurrency float64, overridden any) {
		t.Helper()
		p := o.get("pools/{name}", "over")
		got := p["settings"].(object)["concurrency"]
		was, _ := p["overridden"].(object)
		if got != concurrency || was["concurrency"] != overridden || p["configured"].(object)["concurrency"] != 1.0 {
			t.Errorf("%s: concurrency is %v, overridden %v", step, got, p["overridden"])
		}
	}
	o.do(http.MethodPatch, "pools/{name}", "over", `{"concurrency": 2, "max_wait": "off", "linger": null}`, 200)
	waiter.want(t, 200)
	wantForce("overridden", 2, "1")
	s.Load(body("") + "\n\theader X-Other yes")
	wantForce("another route", 2, "1")
	_ = s.LoadFails([]byte(strings.Replace(string(s.Config(body(""))), `"reverse_proxy"`, `"missing"`, 1)))
	wantForce("a reload that failed", 2, "1")
	o.do(http.MethodPatch, "pools/{name}", "over", `{"concurrency": "3", "max_wait": null}`, 200)
	wantForce("overridden again", 3, "1")
	o.do(http.MethodDelete, "pools/{name}/override", "over", "", 200)
	wantForce("reset", 1, nil)
	o.do(http.MethodPatch, "pools/{name}", "over", `{"concurrency": 2}`, 200)
	s.Load(body("queue 5"))
	wantForce("other settings", 1, nil)
}

// Actions of operators outlive reloads, also those that change the pool.
func TestAdminControlOutlivesReloads(t *testing.T) {
	body := func(queue int) string {
		return fmt.Sprintf("\toffload {\n\t\tname held\n\t\tqueue %d\n\t}\n\trespond ok", queue)
	}
	s, o := serveOperated(t, nil, body(5))
	c := s.Clients()["h2"]
	o.post("pools/{name}/pause", "held", "")
	o.post("pools/{name}/breaker", "held", `{"state": "open"}`)
	for queue := 5; queue < 8; queue++ {
		s.Load(body(queue))
		p := o.get("pools/{name}", "held")
		if p["phase"] != "paused" || p["breaker"] != "open" || p["breaker_forced"] != true || p["queue_limit"] != float64(queue) {
			t.Errorf("with %d places the pool is %v", queue, p)
		}
	}
	if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 503 {
		t.Errorf("got %d", res.StatusCode)
	}
	o.post("pools/{name}/breaker", "held", `{"state": "auto"}`)
	o.post("pools/{name}/resume", "held", "")
	if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
}

func TestAdminControlsPools(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name steered
		concurrency 2
		breaker {
			cool_down 30s
		}
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	if p := o.post("pools/{name}/pause", "steered", ""); p["phase"] != "paused" {
		t.Errorf("the pool is %v", p["phase"])
	}
	waiter := ask(t, c, url)
	o.untilWaiting("steered", 1)
	if p := o.post("pools/{name}/resume", "steered", ""); p["phase"] != "open" {
		t.Errorf("the pool is %v", p["phase"])
	}
	waiter.want(t, 200)

	if p := o.post("pools/{name}/breaker", "steered", `{"state": "open"}`); p["breaker"] != "open" || p["breaker_forced"] != true {
		t.Errorf("the breaker is %v, forced %v", p["breaker"], p["breaker_forced"])
	}
	res, _ := site.Get(t, c, url)
	if after := res.Header.Get("Retry-After"); res.StatusCode != 503 || (after != "30" && after != "31") {
		t.Errorf("got %d, %v", res.StatusCode, res.Header)
	}
	o.post("pools/{name}/breaker", "steered", `{"state": "closed"}`)
	if p := o.post("pools/{name}/breaker", "steered", `{"state": "auto"}`); p["breaker"] != "closed" || p["breaker_forced"] != false {
		t.Errorf("the breaker is %v, forced %v", p["breaker"], p["breaker_forced"])
	}

	busy := make(chan struct{})
	blockUntil["/hold-drain"] = busy
	held := ask(t, c, url+"/hold-drain")
	o.eventually("steered", func(p object) bool { return p["running"] == 1.0 })
	if p := o.do(http.MethodPost, "pools/{name}/drain", "steered", `{"wait": "10ms"}`, 202); p["phase"] != "draining" || p["running"] != 1.0 {
		t.Errorf("the pool is %v", p)
	}
	if res, _ := site.Get(t, c, url); res.StatusCode != 503 {
		t.Errorf("got %d", res.StatusCode)
	}
	close(busy)
	held.want(t, 200)
	if p := o.post("pools/{name}/drain", "steered", `{"wait": "10s"}`); p["running"] != 0.0 {
		t.Errorf("the pool is %v", p)
	}
	o.post("pools/{name}/resume", "steered", "")
	if res, _ := site.Get(t, c, url); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// The waiters of a paused pool that a reload removes are served, because the pool can no
// longer be resumed.
func TestAdminPausedPoolIsRemoved(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name paused
	}
	reverse_proxy UPSTREAM`)
	o.post("pools/{name}/pause", "paused", "")
	waiter := ask(t, s.Clients()["h2"], "https://"+s.Addr)
	o.untilWaiting("paused", 1)
	s.Load("\trespond other")
	waiter.want(t, 200)
	if waiter.body != "ok" {
		t.Errorf("got %q", waiter.body)
	}
}
