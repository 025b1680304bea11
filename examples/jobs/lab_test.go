//go:build integration

package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/examples/jobs/reports"
	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Two goroutines of Caddy may be left: its admin endpoint ends with the process, and a lock
// of its storage seconds after its use.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.replaceLocalAdminServer.func2"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	)
}

// example is the example as it runs. Its reports wait for the test: it lets reports with a
// number of pages make one page after another.
type example struct {
	client http.Client

	mu    sync.Mutex
	pages map[string]chan struct{} // by the field "pages" of requests; guarded by mu
}

// of is the channel of the pages that reports may make.
func (e *example) of(pages string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pages[pages] == nil {
		e.pages[pages] = make(chan struct{}, 100) // the test never waits
	}
	return e.pages[pages]
}

func (e *example) pace(r *http.Request) {
	select {
	case <-e.of(r.FormValue("pages")):
	case <-r.Context().Done():
	}
}

// let lets reports with a number of pages make n pages.
func (e *example) let(pages string, n int) {
	for range n {
		e.of(pages) <- struct{}{}
	}
}

// start starts the example on free ports until the test ends.
func start(t *testing.T) *example {
	t.Helper()
	var ports services.Ports
	t.Cleanup(func() { ports.Release() })
	for _, name := range []string{"OFFLOAD_ADDR", "OFFLOAD_ADMIN", "REPORTS"} {
		addr, err := ports.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, addr)
	}
	t.Setenv("JOBS_STORE", t.TempDir())
	t.Setenv("JOBS_PAGE", ".")
	home := caddy.DefaultStorage.Path
	caddy.DefaultStorage.Path = t.TempDir()
	e := &example{client: http.Client{Transport: &http.Transport{}}, pages: map[string]chan struct{}{}}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- run(ctx, reports.Server{Pace: e.pace}, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the example ended with %v", err)
		}
		caddy.DefaultStorage.Path = home
		e.client.CloseIdleConnections()
	})
	testkit.Receive(t, ready)
	return e
}

// submit submits a report that becomes a job.
func (e *example) submit(t *testing.T, pages string) {
	t.Helper()
	form := url.Values{"pages": {pages}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base()+"/report", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Prefer", "respond-async, wait=0")
	res, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("got %s: %s", res.Status, body)
	}
}
