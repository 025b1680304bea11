package caddymodule_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// statusOfPath answers with the status at the end of the path.
func statusOfPath(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if err != nil {
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
}

// countedRuns reports whether so many runs of a pool were successes and failures.
func countedRuns(successes, failures float64) func(object) bool {
	return func(p object) bool {
		counts, _ := p["ended_total"].(object)
		return counts["success"] == successes && counts["failure"] == failures
	}
}

// The statuses that a pool lists are failures, and no others are, in all of its routes. A
// backend that cannot be reached is always one: that is no status of an answer.
func TestBreakersCountListedStatuses(t *testing.T) {
	for _, mode := range []string{"enforce", "shadow"} {
		t.Run(mode, func(t *testing.T) {
			s, o := serveOperatedWith(t, http.HandlerFunc(statusOfPath), `
	offload {
		pool listed {
			breaker {
				consecutive_failures 3
				statuses 429 501
				cool_down 1h
			}
		}
	}`, `
	offload /one/* listed {
		mode `+mode+`
	}
	offload /two/* listed {
		mode `+mode+`
	}
	reverse_proxy /two/none `+site.FreeAddr(t)+`
	reverse_proxy UPSTREAM`)
			c := s.Clients()["h2"]
			get := func(path string, status int) {
				t.Helper()
				if res, _ := site.Get(t, c, "https://"+s.Addr+path); res.StatusCode != status {
					t.Errorf("%s: got %d, want %d", path, res.StatusCode, status)
				}
			}
			for _, status := range []int{503, 404, 500} {
				get("/one/"+strconv.Itoa(status), status)
			}
			o.eventually("listed", countedRuns(3, 0))
			get("/one/429", 429)
			get("/two/501", 501)
			o.eventually("listed", countedRuns(3, 2))
			get("/two/none", 502)
			o.eventually("listed", func(p object) bool { return countedRuns(3, 3)(p) && p["breaker"] == "open" })
			if mode == "enforce" {
				get("/one/200", 503)
			}
		})
	}
}

// A reload changes the statuses that count.
func TestStatusesChangeWithAReload(t *testing.T) {
	body := func(statuses string) string {
		return "offload {\n name changes\n breaker {\n statuses " + statuses + "\n }\n }\n reverse_proxy UPSTREAM"
	}
	s, o := serveOperated(t, http.HandlerFunc(statusOfPath), body("5xx"))
	c := s.Clients()["h2"]
	site.Get(t, c, "https://"+s.Addr+"/429")
	o.eventually("changes", countedRuns(1, 0))
	s.Load(body("5xx 429"))
	if got := o.get("pools/{name}", "changes")["configured"].(object)["breaker"].(object)["statuses"]; got != "5xx 429" {
		t.Errorf("the statuses are %v", got)
	}
	site.Get(t, c, "https://"+s.Addr+"/429")
	o.eventually("changes", countedRuns(1, 1))
	s.Load("offload {\n name changes\n breaker off\n }\n reverse_proxy UPSTREAM")
	site.Get(t, c, "https://"+s.Addr+"/429")
	o.eventually("changes", countedRuns(2, 1))
}

// A hold that is longer than a configured wait is named at load.
func TestHoldsAboveTheWaitAreNamedAtLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	site.ServeGlobal(t, nil, "log {\n output file "+file+"\n level INFO\n }\n offload {\n pool long {\n max_wait 5s\n breaker {\n hold 6s\n }\n }\n }", `
	offload /long long
	offload /default {
		name default
		breaker {
			hold 1m
		}
	}
	offload /same {
		name same
		max_wait 5s
		breaker {
			hold 5s
		}
	}
	respond ok`)
	named := func(pool string) bool {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, "breaker hold is longer than max_wait") && strings.Contains(line, `"pool":"`+pool+`"`) {
				return true
			}
		}
		return false
	}
	testkit.Eventually(t, func() bool { return named("long") })
	for _, pool := range []string{"default", "same"} {
		if named(pool) {
			t.Errorf("pool '%s' is named", pool)
		}
	}
}
