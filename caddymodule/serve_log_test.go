package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// logCase is one request and its line in the access log. A missing field
// must be missing; a range is for a number of seconds.
type logCase struct {
	words   string
	hold    bool // the only permit is taken
	request func(t *testing.T, c *http.Client, url string)
	status  float64
	fields  map[string]any
}

// between is a range of seconds. A busy machine may exceed it, but then the whole request
// takes longer by the same time.
type between struct{ from, to float64 }

// holds reports whether n is in the range. The request took the time whole.
func (b between) holds(n, whole float64) bool {
	return n >= b.from && (n <= b.to || n+pause.Seconds() <= whole)
}

// A pause is long enough to differ from no time at all on a busy machine.
const pause = 400 * time.Millisecond

func soon() between   { return between{0, .3} }
func paused() between { return between{.35, 3} }

func get(t *testing.T, c *http.Client, url string) { site.Get(t, c, url) }

// leaveAfter gives a request up after a while.
func leaveAfter(d time.Duration) func(t *testing.T, c *http.Client, url string) {
	return func(t *testing.T, c *http.Client, url string) {
		site.Leave(t, c, url, func() { testkit.Pause(d) })
	}
}

// upload sends a body in two pieces with a pause between them, and leaves in the
// pause if it shall.
func upload(size int, pause time.Duration, leaves bool) func(t *testing.T, c *http.Client, url string) {
	return func(t *testing.T, c *http.Client, url string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		body, w := io.Pipe()
		go func() {
			io.WriteString(w, "begin")
			testkit.Pause(pause)
			if leaves {
				cancel()
				return
			}
			io.WriteString(w, strings.Repeat("x", size))
			w.Close()
		}()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		if res, err := c.Do(req); err == nil {
			res.Body.Close()
		}
	}
}

// slowUpstream answers according to the path.
func slowUpstream(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/slow":
		testkit.Pause(pause)
	case "/hang":
		<-r.Context().Done()
		return
	case "/begins":
		w.Write([]byte("begin"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	blocking(w, r)
}

var logCases = map[string]logCase{
	"served": {
		request: func(t *testing.T, c *http.Client, url string) { get(t, c, url+"/slow") }, status: 200,
		fields: map[string]any{"outcome": "success", "queue_wait": soon(), "run": paused()},
	},
	"served after a slow upload": {
		request: upload(1, pause, false), status: 200,
		fields: map[string]any{"outcome": "success", "upload": paused(), "queue_wait": soon(), "run": soon()},
	},
	"rejected at once": {
		words: "queue 0", hold: true, request: get, status: 503,
		fields: map[string]any{"outcome": "rejected", "reason": "queue_full", "queue_wait": soon()},
	},
	"rejected at once, answered slowly": {
		words: "queue 0\n handle_reject {\n reverse_proxy UPSTREAM {\n rewrite /slow\n }\n }", hold: true, request: get, status: 200,
		fields: map[string]any{"outcome": "rejected", "reason": "queue_full", "queue_wait": soon()},
	},
	"rejected after a wait": {
		words: "max_wait 400ms", hold: true, request: get, status: 503,
		fields: map[string]any{"outcome": "rejected", "reason": "wait_timeout", "queue_wait": paused()},
	},
	"rejected for its body": {
		words: "request_spool 10", request: upload(100, pause, false), status: 413,
		fields: map[string]any{"outcome": "rejected", "reason": "body_too_large", "upload": paused(), "queue_wait": soon()},
	},
	"timed out before the answer": {
		words: "first_byte_timeout 400ms\n abandon_timeout 200ms", status: 504,
		request: func(t *testing.T, c *http.Client, url string) { get(t, c, url+"/hang") },
		fields:  map[string]any{"outcome": "failure", "reason": "first_byte_timeout", "queue_wait": soon(), "run": paused()},
	},
	"timed out within the answer": {
		words: "run_timeout 400ms\n first_byte_timeout off\n abandon_timeout 200ms", status: 200,
		request: func(t *testing.T, c *http.Client, url string) { get(t, c, url+"/begins") },
		fields:  map[string]any{"outcome": "failure", "reason": "run_timeout", "queue_wait": soon(), "run": paused()},
	},
	"timed out, but does not care": {
		words: "first_byte_timeout 100ms\n", status: 504,
		request: func(t *testing.T, c *http.Client, url string) { get(t, c, url+"/behind") },
		fields:  map[string]any{"outcome": "failure", "reason": "first_byte_timeout", "queue_wait": soon(), "run": paused()},
	},
	"left while it uploads": {
		request: upload(1, pause, true), status: 499,
		fields: map[string]any{"outcome": "left", "upload": paused(), "queue_wait": soon()},
	},
	"left while it waits": {
		hold: true, request: leaveAfter(pause), status: 499,
		fields: map[string]any{"outcome": "left", "queue_wait": paused()},
	},
	"left while it runs": {
		words: "on_abandon cancel", status: 499,
		request: func(t *testing.T, c *http.Client, url string) { leaveAfter(pause)(t, c, url+"/hang") },
		fields:  map[string]any{"outcome": "excluded", "queue_wait": soon(), "run": paused()},
	},
}

// The access log has the outcome and the times of each request, and no other fields.
func TestAccessLog(t *testing.T) {
	behind := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		testkit.Pause(pause)
		return nil
	})
	for name, test := range logCases {
		t.Run(name, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(slowUpstream), fmt.Sprintf(`
	offload {
		name logged
		concurrency 1
		%s
	}
	handle /behind {
		%s
	}
	handle {
		reverse_proxy UPSTREAM
	}`, test.words, behind))
			c := s.Clients()["h2"]
			if test.hold {
				holdOne(t, s, c, "/hold")
			}
			test.request(t, c, "https://"+s.Addr)
			line := s.AccessLog(1)[0]
			if line["status"] != test.status {
				t.Errorf("status %v, want %v", line["status"], test.status)
			}
			wantFields(t, line, "logged", test.fields)
		})
	}
}

// wantFields compares the fields of offload in a line of the access log.
func wantFields(t *testing.T, line map[string]any, pool string, want map[string]any) {
	t.Helper()
	got, _ := line["offload"].(map[string]any)
	whole, _ := line["duration"].(float64)
	if id, _ := got["id"].(string); len(id) != 13 {
		t.Errorf("the id is '%s'", id)
	}
	if len(got) != len(want)+2 || got["pool"] != pool {
		t.Errorf("logged %v, want the pool '%s' and %v", got, pool, want)
	}
	for name, value := range want {
		if r, ok := value.(between); ok {
			if n, ok := got[name].(float64); !ok || !r.holds(n, whole) {
				t.Errorf("%s is %v of %v, want %v to %v s", name, got[name], whole, r.from, r.to)
			}
		} else if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
}

// Of nested pools the inner one is logged, with its own times.
func TestAccessLogOfNestedPools(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(slowUpstream), `
	route {
		offload {
			name outer
			concurrency 2
		}
		offload {
			name inner
			concurrency 1
			max_wait 400ms
			order fifo
		}
		reverse_proxy UPSTREAM
	}`)
	c := s.Clients()["h2"]
	get(t, c, "https://"+s.Addr+"/slow")
	wantFields(t, s.AccessLog(1)[0], "inner", map[string]any{"outcome": "success", "queue_wait": soon(), "run": paused()})
	holdOne(t, s, c, "/hold")
	get(t, c, "https://"+s.Addr)
	wantFields(t, s.AccessLog(2)[1], "inner", map[string]any{"outcome": "rejected", "reason": "wait_timeout", "queue_wait": paused()})
}

// The field has the time of the wait, and in answers to timeouts that of the run.
func TestServerTiming(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(slowUpstream), `
	offload {
		name timed
		concurrency 1
		max_wait 400ms
		order fifo
		first_byte_timeout 2s
		abandon_timeout 1ms
		server_timing
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h1"]
	// Each of the times is at least what it is for, and all together are within what
	// the client has seen.
	expect := func(path, want string, atLeast ...float64) {
		t.Helper()
		began := time.Now()
		res, _ := site.Get(t, c, "https://"+s.Addr+path)
		rest := time.Since(began).Seconds() * 1000
		got := res.Header.Get("Server-Timing")
		times := regexp.MustCompile("^" + want + "$").FindStringSubmatch(got)
		if times == nil {
			t.Fatalf("%s: got %q, want %s", path, got, want)
		}
		for i, least := range atLeast {
			ms, _ := strconv.ParseFloat(times[1+i], 64)
			if rest -= ms; ms < least || rest < 0 {
				t.Errorf("%s: got %q, want at least %v ms, and no more than the client has seen", path, got, atLeast)
			}
		}
	}
	const wait, run = `offload_wait;dur=(\d+\.\d{3})`, `offload_run;dur=(\d+\.\d{3})`
	expect("/", wait, 0)
	expect("/hang", wait+", "+run, 0, 2000)
	holdOne(t, s, c, "/hold")
	expect("/", wait, 400)
}
