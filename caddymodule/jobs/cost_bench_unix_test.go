//go:build unix

package jobs_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// way is how a request takes a route, with the field Prefer of its client.
type way struct {
	name, prefer string
	jobs         bool
}

var ways = []way{
	{"without", "", false},
	{"unasked", "", true},
	{"inline", "respond-async, wait=10", true},
}

// Benchmarks what jobs cost a request whose client gets its response: the CPU time of the
// handlers alone, and of all of a Caddy with 32 clients and an upstream in this process. The ways
// take turns. The ratios are to a route without jobs.
//
//	go test -run '^$' -bench RoutesWithJobs -benchtime 20x ./caddymodule/jobs
func BenchmarkRoutesWithJobs(b *testing.B) {
	answer := make([]byte, 1<<10)
	b.Run("handlers", func(b *testing.B) {
		sites := benchmarkSites(b, nil, site.HandleBehind(b, func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.Copy(io.Discard, r.Body)
			_, err := w.Write(answer)
			return err
		}))
		takeTurns(b, 500, func(w way, n int) {
			server := serverOf(b, sites[w.jobs].Clear)
			for range n {
				client := &nullWriter{header: http.Header{}}
				server.ServeHTTP(client, w.request(b, "http://127.0.0.1"))
				if client.status != http.StatusOK {
					b.Fatal(client.status)
				}
			}
		})
	})
	b.Run("proxied", func(b *testing.B) {
		sites := benchmarkSites(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(answer)
		}), "reverse_proxy UPSTREAM")
		const clients = 32
		transport := &http.Transport{MaxIdleConnsPerHost: clients}
		b.Cleanup(transport.CloseIdleConnections)
		takeTurns(b, 640, func(w way, n int) {
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for range n / clients {
						benchmarkRequest(b, transport, w.request(b, "http://"+sites[w.jobs].Clear))
					}
				})
			}
			all.Wait()
		})
	})
}

// takeTurns measures all ways in turns of n requests, in any order: a way pays for the garbage of
// the one before.
func takeTurns(b *testing.B, n int, send func(w way, n int)) {
	times := make([][]float64, len(ways))
	for b.Loop() {
		for _, i := range rand.Perm(len(ways)) {
			before := processorTime(b)
			send(ways[i], n)
			times[i] = append(times[i], float64(processorTime(b)-before)/float64(n))
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning here
	for i, w := range ways {
		slices.Sort(times[i])
		took := times[i][len(times[i])/4] // others disturb the slow ones
		b.ReportMetric(took, w.name+"-ns")
		if i > 0 {
			b.ReportMetric(times[0][len(times[0])/4]/took, w.name+"-ratio")
		}
	}
}

func benchmarkRequest(b *testing.B, transport http.RoundTripper, r *http.Request) {
	res, err := transport.RoundTrip(r)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b.Error(res.Status)
	}
}

// benchmarkSites returns a site with jobs and one without.
func benchmarkSites(b *testing.B, upstream http.Handler, directive string) map[bool]*site.Site {
	const pool = "log_skip\noffload {\nname %s\nconcurrency 64\nqueue 1000\nbreaker off\n%s\n}\n%s"
	sites := site.ServeEach(b, upstream, "", "OFFLOAD",
		fmt.Sprintf(pool, "plain", "", directive),
		fmt.Sprintf(pool, "jobs", "jobs bench {\nhandle {\n"+directive+"\n}\n}\n", directive)+"\noffload_jobs /.jobs/*")
	return map[bool]*site.Site{false: sites[0], true: sites[1]}
}

// serverOf returns the server that listens on an address.
func serverOf(b *testing.B, addr string) *caddyhttp.Server {
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if slices.Contains(server.Listen, addr) {
			return server
		}
	}
	b.Fatal("no server listens on " + addr)
	return nil
}

var benchmarkBody = bytes.Repeat([]byte("x"), 1<<10)

func (w way) request(b *testing.B, base string) *http.Request {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, base+"/report", bytes.NewReader(benchmarkBody))
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header["Content-Type"] = []string{"application/json"}
	if w.prefer != "" {
		r.Header["Prefer"] = []string{w.prefer}
	}
	return r
}

// nullWriter notes the status of a response. It can what the connections of servers can.
type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header       { return w.header }
func (w *nullWriter) WriteHeader(status int)    { w.status = status }
func (*nullWriter) Write(p []byte) (int, error) { return len(p), nil }

func (*nullWriter) Flush()                           {}
func (*nullWriter) SetReadDeadline(time.Time) error  { return nil }
func (*nullWriter) SetWriteDeadline(time.Time) error { return nil }

func processorTime(b *testing.B) int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
