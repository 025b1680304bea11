package caddymodule_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// sentences returns those of an explanation.
func sentences(e object) string {
	var all []string
	for _, sentence := range e["sentences"].([]any) {
		all = append(all, sentence.(string))
	}
	return strings.Join(all, " ")
}

// Served requests are explained: those that were slow, and why they waited.
func TestServedRequestsAreExplained(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(slowUpstream), `
	offload {
		name explained
		concurrency 1
		request_id
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	holdOne(t, s, c, "/hold")
	waits := ask(t, c, url+"/slow")
	o.untilWaiting("explained", 1)
	id := o.only("explained", "waiting")
	if got := sentences(o.get("explain/{id}", id)); !strings.HasSuffix(got, "and is at place 1 in the order of service.") {
		t.Errorf("while it waits: %s", got)
	}
	o.offload("set", "explained", "concurrency=2")
	waits.want(t, 200)
	if got := waits.res.Header.Get("Offload-Request-Id"); got != id {
		t.Errorf("the answer has the id '%s', want '%s'", got, id)
	}
	var e object
	testkit.Eventually(t, func() bool { // the client has its answer a moment earlier
		e = o.get("explain/{id}", id)
		return e["decision"] == "served"
	})
	got := sentences(e)
	for _, want := range []string{"It was served in ", ", with status 200: ", " in the queue, ", " for its run", "When it came, no other waiter was to be served before it", "1 of 1 permit was in use."} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks '%s': %s", want, got)
		}
	}
	parts := e["waited_ns"].(float64) + e["ran_ns"].(float64)
	if e["total_ns"].(float64) < parts || e["status"] != 200.0 || e["record"].(object)["concurrency"] != 1.0 {
		t.Errorf("explained as %v", e)
	}
	site.Get(t, c, url+"/")
	slowest := o.get("explain", "")["slowest"].([]any)
	var paths []string
	for _, e := range slowest {
		paths = append(paths, e.(object)["path"].(string))
	}
	if !slices.Contains(paths, "/slow") || !slices.IsSortedFunc(slowest, func(a, b any) int {
		return int(b.(object)["total_ns"].(float64) - a.(object)["total_ns"].(float64))
	}) {
		t.Errorf("the slowest are %v", paths)
	}
	if got := o.offload("explain", "--slowest"); !strings.Contains(got, id) || !strings.Contains(got, "STATUS") {
		t.Errorf("the command lists %s", got)
	}
	if got := o.offload("explain", id); !strings.Contains(got, "decision  served\nwhy       It was served in ") {
		t.Errorf("the command explains %s", got)
	}
}

// A waiter that lost its place is explained with the request that has it now.
func TestDisplacedRequestsAreExplained(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(slowUpstream), `
	offload {
		name displacing
		concurrency 1
		queue 1
		max_wait 1500ms
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	for range 2 { // the first does not count for predictions; one waiter is too many after the second
		site.Get(t, c, url+"/slow")
	}
	holdOne(t, s, c, "/hold")
	oldest := ask(t, c, url+"/oldest")
	o.untilWaiting("displacing", 1)
	newest := ask(t, c, url+"/newest")
	oldest.want(t, 503)
	newID := o.only("displacing", "waiting")
	e := o.get("explain/{id}", oldest.res.Header.Get("Offload-Request-Id"))
	record := e["record"].(object)
	if record["displaced_by"] != newID || record["newest_first"] != true || record["joined"] != true || record["retry_after_ns"].(float64) <= 0 {
		t.Errorf("recorded %v", record)
	}
	want := fmt.Sprintf("The only place in the queue was taken, and the queue was too long to be served in order: request %s, which is newer, got its place.", newID)
	if got := sentences(e); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	o.offload("set", "displacing", "concurrency=2")
	<-newest.done // served, or rejected where the machine has stopped for longer than max_wait
}

// Each answer has the id of its request, if the route says so: also in nested pools.
func TestRequestIDsOfAllAnswers(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	handle /id {
		offload {
			request_id
		}
		reverse_proxy UPSTREAM
	}
	handle /timing {
		offload {
			server_timing
		}
		reverse_proxy UPSTREAM
	}
	handle /nested {
		offload {
			request_id
		}
		offload {
			request_id
		}
		reverse_proxy UPSTREAM
	}
	handle {
		offload
		reverse_proxy UPSTREAM
	}`)
	for name, c := range s.Clients() {
		seen := map[string]bool{}
		for path, want := range map[string]bool{"/id": true, "/timing": true, "/nested": true, "/": false} {
			res, _ := site.Get(t, c, "https://"+s.Addr+path)
			ids := res.Header.Values("Offload-Request-Id")
			switch {
			case !want && len(ids) == 0:
			case !want || len(ids) != 1 || !requestID.MatchString(ids[0]) || seen[ids[0]]:
				t.Errorf("%s: %s has the ids %v", name, path, ids)
			default:
				seen[ids[0]] = true
			}
		}
	}
}

// A reload that removes a pool names what an operator had changed in it.
func TestRemovedPoolNamesItsOverride(t *testing.T) {
	file := filepath.Join(t.TempDir(), "caddy.log")
	s, o := serveOperatedWith(t, http.HandlerFunc(blocking), fmt.Sprintf("log {\n output file %s\n level INFO\n }", file), `
	offload {
		name overridden
	}
	reverse_proxy UPSTREAM`)
	o.offload("set", "overridden", "concurrency=16", "max_wait=5s")
	o.offload("breaker", "overridden", "closed")
	s.Load("respond \"nothing\"")
	var last map[string]any
	testkit.Eventually(t, func() bool {
		for _, line := range ourLog(file) {
			if line["pool"] == "overridden" && strings.HasPrefix(line["msg"].(string), "pool removed") {
				last = line
			}
		}
		return last != nil
	})
	if got := fmt.Sprint(last["lost_override"], " ", last["lost_forced_breaker"]); got != "map[concurrency:16 max_wait:5s] closed" {
		t.Errorf("it lost %s", got)
	}
}
