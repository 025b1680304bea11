package caddymodule_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A rejected client that returns at the time of its Retry-After takes the place of one
// without a turn. A client is identified by its address, behind a trusted proxy by the
// address that the proxy sends.
func TestTurnsOfRefusedClients(t *testing.T) {
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	defer release()
	s := site.ServeGlobal(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-work }),
		"servers {\n trusted_proxies static 127.0.0.0/8 ::1/128\n }", `
	metrics /metrics
	offload /pool/* {
		name turns
		concurrency 1
		queue 1
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	ask := func(client string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr+"/pool/x", nil)
		if err != nil {
			t.Error(err)
			return &http.Response{}
		}
		req.Header.Set("X-Forwarded-For", client)
		res, _ := site.Do(t, c, req)
		return res
	}
	var all sync.WaitGroup
	defer all.Wait()
	inFlight := func(n int) func() bool {
		return func() bool { return scrape(t, s)[`in_flight{pool="turns"}`] == float64(n) }
	}
	all.Go(func() { ask("10.0.0.8") })
	testkit.Eventually(t, inFlight(1))
	waiter := make(chan int, 1)
	all.Go(func() { waiter <- ask("10.0.0.9").StatusCode })
	testkit.Eventually(t, inFlight(2))

	refused := ask("10.0.0.1")
	seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	if refused.StatusCode != http.StatusServiceUnavailable || err != nil || seconds > 2 {
		t.Fatalf("got %d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
	}
	testkit.Pause(time.Duration(seconds) * time.Second)
	if got := ask("10.0.0.2").StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("a client without a turn got %d", got)
	}
	back := make(chan int, 1)
	all.Go(func() { back <- ask("10.0.0.1").StatusCode })
	if got := <-waiter; got != http.StatusServiceUnavailable {
		t.Errorf("the one that had to make room got %d", got)
	}
	release()
	if got := <-back; got != http.StatusOK {
		t.Errorf("the client that came back got %d", got)
	}
}
