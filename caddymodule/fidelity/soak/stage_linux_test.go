package soak

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// soakPool is one route with a separate pool.
type soakPool struct {
	name  string
	limit int64  // permits, the most there ever are
	words string // of its offload
	// exact means that no run is ever cancelled, so that the upstream has the exact
	// number of runs at each moment. It notices a cancelled run late.
	exact bool
	// slow means that a head within a second is early enough.
	slow bool
}

var soakPools = []soakPool{
	{name: "exact", limit: 3, exact: true, slow: true, words: `
		concurrency 3
		queue 8
		max_wait 500ms
		on_abandon finish
		stall_timeout off
		breaker off
		request_spool 16KiB 2MiB
		response_spool 16KiB 4MiB`},
	{name: "breaker", limit: 4, words: `
		concurrency 4
		queue 10
		max_wait 1s
		first_byte_timeout 400ms
		run_timeout 1500ms
		breaker {
			window 5s
			min_requests 10
			cool_down 300ms
		}`},
	{name: "tiny", limit: 4, words: `
		concurrency 4
		queue 10
		breaker off
		first_byte_timeout 400ms
		run_timeout 3s
		request_spool 4KiB 64KiB
		response_spool 4KiB 64KiB
		stall_timeout 1s`},
	{name: "file", limit: 2, words: `
		concurrency 2
		queue 10
		order fifo
		breaker off
		on_abandon cancel
		first_byte_timeout 400ms
		run_timeout 1500ms
		request_spool 0 1MiB
		response_spool 0 4MiB`},
	{name: "direct", limit: 4, words: `
		concurrency 4
		queue 5
		max_wait 500ms
		breaker off
		first_byte_timeout 400ms
		run_timeout 3s
		request_spool off
		response_spool off`},
	{name: "hold", limit: 4, slow: true, words: `
		concurrency 4
		queue 5
		breaker off
		run_timeout 3s
		upgrades hold`},
	{name: "shift", limit: 6, words: `
		concurrency SHIFT
		queue 10
		breaker off
		first_byte_timeout 400ms
		run_timeout 1500ms`},
	{name: "refused", limit: 4, words: `
		concurrency 4
		breaker {
			consecutive_failures 5
			cool_down 100ms
		}`},
}

// soakStage is a Caddy in a separate process, under a mixed load.
type soakStage struct {
	*site.Process
	dir      string
	upstream *soakUpstream
}

// idleTimeout is how long Caddy keeps a connection without requests. It also keeps the
// memory of an ended HTTP/3 connection that long, such as the buffers of cut answers: the
// timer of quic-go's server for idle connections starts again when the streams of an
// ended connection end, and refers to the connection.
const idleTimeout = 2 * time.Second

// mostGoroutines is more than there ever are. While a connection ends during a
// reload, that server starts one goroutine after the other to say so: thousands.
const mostGoroutines = 16_000

func newSoakStage(t *testing.T) *soakStage {
	s := &soakStage{dir: t.TempDir(), upstream: newSoakUpstream()}
	s.Process = site.Start(t, s.upstream, `
	offload {
		spool {
			dir `+s.dir+`
			memory 4MiB
			disk 64MiB
			uploads 20
		}
	}
	servers {
		protocols h1 h2 h2c h3
		timeouts {
			read_body_idle 1s
			write_idle 1s
			idle `+idleTimeout.String()+`
		}
	}`, s.body(2), site.Limits{Goroutines: mostGoroutines})
	return s
}

// body is that of the site. Reloads change the limit of one pool.
func (s *soakStage) body(shift int) string {
	var b strings.Builder
	for _, p := range soakPools {
		to := "UPSTREAM"
		if p.name == "refused" {
			to = "127.0.0.1:1" // a port without a listener
		}
		fmt.Fprintf(&b, `
	handle /%s/* {
		offload {
			name %s%s
		}
		respond /%s/state "{http.offload.in_flight}"
		reverse_proxy %s {
			transport http {
				keepalive 300ms
				max_response_header 64KiB
			}
		}
	}`, p.name, p.name, strings.ReplaceAll(p.words, "SHIFT", strconv.Itoa(shift)), p.name, to)
	}
	return b.String()
}

// level is the amount of resources that a process holds.
type level struct {
	goroutines, descriptors int
	ours                    int // goroutines that are in code of this project
	heap                    int64
}

func (l level) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MiB of heap", l.goroutines, l.descriptors, float64(l.heap)/(1<<20))
}

// within allows for differences that are no leak: goroutines of Caddy that are about to
// end, and some pages of the heap. One buffer of each request would be far more.
func (l level) within(before level) bool {
	return l.goroutines <= before.goroutines+5 && l.descriptors <= before.descriptors+2 && l.heap <= before.heap+1<<19
}

// rest waits until all requests are over and have returned their resources: permits,
// places, files, goroutines, connections. It returns the level after that.
func (s *soakStage) rest(t *testing.T) level {
	t.Helper()
	client := s.Clients()["h1"]
	client.Transport.(*http.Transport).DisableKeepAlives = true
	for _, p := range soakPools {
		testkit.Eventually(t, func() bool {
			_, inFlight := site.Get(t, client, "https://"+s.Addr+"/"+p.name+"/state")
			return inFlight == "1" // this request itself
		})
	}
	testkit.Eventually(t, func() bool {
		files, _ := s.Spooled(s.dir)
		return files == 0
	})
	testkit.Eventually(t, func() bool { return s.level(t).ours == 0 })
	testkit.Quiet(idleTimeout * 3 / 2) // Caddy closes idle connections meanwhile
	return s.level(t)
}

var (
	someGoroutines = regexp.MustCompile(`(?m)^(\d+) @ .*\n(#.*\n)*`)
	ourCode        = regexp.MustCompile(`/caddy-offload/(caddymodule\.|caddymodule/internal/|offloader)`)
	heapAlloc      = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// level asks Caddy's own profiles, that of the heap after a collection.
func (s *soakStage) level(t *testing.T) level {
	t.Helper()
	l := level{descriptors: len(s.OpenFiles())}
	for _, some := range someGoroutines.FindAllSubmatch(s.Profile("goroutine"), -1) {
		n, _ := strconv.Atoi(string(some[1]))
		l.goroutines += n
		if ourCode.Match(some[0]) {
			l.ours += n
		}
	}
	heap := heapAlloc.FindSubmatch(s.Profile("heap"))
	if l.goroutines == 0 || heap == nil {
		t.Fatal("the profiles say nothing")
	}
	l.heap, _ = strconv.ParseInt(string(heap[1]), 10, 64)
	return l
}
