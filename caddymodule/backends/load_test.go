//go:build integration

package backends

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

// The load: so many clients want a blocking route again and again, each run takes that
// long, while the fast route is asked at a steady pace.
const (
	crowd     = 8
	blocking  = 400 * time.Millisecond
	loadFor   = 8 * time.Second
	probeEach = 40 * time.Millisecond
)

// fast sees how long a fast route waits behind runs that block its loop.
func (b setup) fast(t *testing.T, commands string) *measured.Fast {
	t.Helper()
	s, err := b.serve(t, commands, start{})
	if err != nil {
		t.Fatal(err)
	}
	one := func(name, more string) string {
		return "\thandle_path /" + name + "/* {\n\t\trewrite * " + b.root + "{uri}\n\t\toffload " + b.root + "/block* {\n\t\t\tconcurrency 1\n\t\t}\n" +
			"\t\treverse_proxy " + s.addr + " {\n\t\t\ttransport http {\n\t\t\t\t" + more + "\n\t\t\t}\n\t\t}\n\t}\n"
	}
	url := "http://" + startProxy(t, s, one("kept", "keepalive 2m")+one("fresh", "keepalive off")).addr
	in := func(url string) float64 {
		p99 := min(load(t, url, "block", crowd), load(t, url, "block", crowd)) // a busy machine only adds
		return math.Round(100*p99.Seconds()/blocking.Seconds()) / 100
	}
	return &measured.Fast{Plain: in(url), Kept: in(url + "/kept"), Fresh: in(url + "/fresh")}
}

// load plays it, and returns how long the fast route took, but for the slowest one in a
// hundred.
func load(t *testing.T, url, path string, crowd int) (p99 time.Duration) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), loadFor)
	defer end()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: patience}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			for ctx.Err() == nil {
				fetch(t, client, fmt.Sprintf("%s/%s?id=load-%d&seconds=%v", url, path, i, blocking.Seconds()))
			}
		})
	}
	var mu sync.Mutex
	var took []time.Duration
	for pace := time.NewTicker(probeEach); ctx.Err() == nil; <-pace.C {
		all.Go(func() {
			one := fetch(t, client, url+"/fast")
			mu.Lock()
			defer mu.Unlock()
			took = append(took, one)
		})
	}
	all.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// fetch returns how long an answer took, which must be a good one.
func fetch(t *testing.T, client *http.Client, url string) time.Duration {
	began := time.Now()
	res, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return time.Since(began)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, res.Status, err)
	}
	return time.Since(began)
}
