//go:build unix

package status_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkViewers measures the processor time of viewers of a site with 20 pools, one of
// which has 100 waiting requests, as a share of one core. The viewers are in this process,
// so their work counts too. One iteration is the time between two frames.
func BenchmarkViewers(b *testing.B) {
	var pools strings.Builder
	pools.WriteString("offload_status /status*\n")
	for i := range 20 {
		fmt.Fprintf(&pools, "offload /%d/* {\n\tname \"pool %d\"\n\tconcurrency 1\n\tqueue 200\n\tmax_wait 1h\n}\n", i, i)
	}
	pools.WriteString("reverse_proxy UPSTREAM")
	blocked := make(chan struct{})
	s := site.Serve(b, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-blocked:
		case <-r.Context().Done():
		}
	}), pools.String())
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	b.Cleanup(func() {
		close(blocked)
		cancel()
		clients.Wait()
	})
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Clear+path, nil)
		if err != nil {
			return nil, err
		}
		return c.Do(req)
	}
	for range 101 {
		clients.Go(func() {
			if res, err := get("/7/"); err == nil {
				res.Body.Close()
			}
		})
	}
	testkit.Eventually(b, func() bool {
		_, text := site.Get(b, c, "http://"+s.Clear+"/status")
		return strings.Contains(text, "100 / 200")
	})
	for _, page := range []struct{ name, path string }{{"all", "/status?events"}, {"pool", "/status?events&pool=pool+7"}} {
		for _, n := range []int{0, 1, 20} {
			b.Run(fmt.Sprintf("%s-%d", page.name, n), func(b *testing.B) { measure(b, get, page.path, n) })
		}
	}
}

// measure reports the share of a core that n viewers of a page take.
func measure(b *testing.B, get func(string) (*http.Response, error), path string, n int) {
	var viewers sync.WaitGroup
	defer viewers.Wait()
	for range n {
		res, err := get(path)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		viewers.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := res.Body.Read(buf); err != nil {
					return
				}
			}
		})
	}
	testkit.Pause(1500 * time.Millisecond) // the first frame is a large one
	began, used := time.Now(), cpu(b)
	for b.Loop() {
		testkit.Pause(time.Second)
	}
	b.ReportMetric(100*float64(cpu(b)-used)/float64(time.Since(began)), "%core")
	b.ReportMetric(0, "ns/op")
}
