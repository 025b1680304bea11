package caddymodule_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// While requests of all kinds come and go, an operator uses all commands. Each client gets
// a response or half of one, and in the end the pool is empty. Under the race detector the
// test shows that no other goroutine reads the data of a request's goroutine.
func TestAdminStorm(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		testkit.Pause(time.Duration(rand.IntN(4)) * time.Millisecond)
		_, _ = w.Write(make([]byte, rand.IntN(300<<10)))
	}), `
	offload {
		name storm
		concurrency 4
		queue 20
		max_wait 300ms
		run_timeout 200ms
		breaker {
			consecutive_failures 5
			cool_down 20ms
		}
		server_timing
	}
	rewrite /rewritten{uri}
	reverse_proxy UPSTREAM`)
	var clients sync.WaitGroup
	for _, c := range s.Clients() {
		for range 8 {
			clients.Go(func() {
				for i := range 15 {
					stormRequest(t, c, "https://"+s.Addr, i)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		clients.Wait()
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			o.something()
		}
	}
	o.post("pools/{name}/resume", "storm", "")
	o.post("pools/{name}/breaker", "storm", `{"state": "auto"}`)
	o.do(http.MethodDelete, "pools/{name}/override", "storm", "", 200)
	o.eventually("storm", func(p object) bool {
		return p["running"] == 0.0 && p["waiting"] == 0.0 && p["abandoned"] == 0.0 && p["overridden"] == nil && p["phase"] == "open"
	})
	o.untilEmpty("storm")
}

// stormRequest is one of several kinds. Its client may leave.
func stormRequest(t *testing.T, c *http.Client, url string, i int) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	method, body := http.MethodGet, ""
	if i%3 == 0 {
		method, body = http.MethodPost, strings.Repeat("x", i<<10)
	}
	req, err := http.NewRequestWithContext(ctx, method, url+"/a", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	leaves := i%5 == 0
	if leaves {
		time.AfterFunc(time.Duration(rand.IntN(5))*time.Millisecond, leave)
	}
	res, err := c.Do(req)
	if err != nil {
		return // it left, or was cut off before the head on a connection that others share
	}
	defer res.Body.Close()
	if res.StatusCode != 200 && res.StatusCode != 503 && res.StatusCode != 504 {
		t.Errorf("got %d", res.StatusCode)
	}
	_, _ = io.Copy(io.Discard, res.Body)
}

// something performs a random action that is allowed at any time.
func (o *operator) something() {
	o.t.Helper()
	switch rand.IntN(9) {
	case 0:
		o.post("pools/{name}/pause", "storm", "")
		o.post("pools/{name}/resume", "storm", "")
	case 1:
		o.post("pools/{name}/breaker", "storm", `{"state": "open"}`)
		o.post("pools/{name}/breaker", "storm", `{"state": "auto"}`)
	case 2:
		o.post("pools/{name}/breaker", "storm", `{"state": "closed"}`)
	case 3:
		o.do(http.MethodPatch, "pools/{name}", "storm", `{"concurrency": 2, "order": "fifo"}`, 200)
	case 4:
		o.do(http.MethodDelete, "pools/{name}/override", "storm", "", 200)
	case 5:
		o.get("explain", "")
	case 6:
		o.get("pools", "")
	default:
		all := append(o.requests("waiting", "storm"), o.requests("running", "storm")...)
		if len(all) > 0 {
			// It may have ended meanwhile, or be on its way from one phase to the next.
			res, text := o.raw(http.MethodPost, "/offload/requests/"+all[rand.IntN(len(all))]["id"].(string)+"/cancel", "")
			if res.StatusCode != 200 && res.StatusCode != 404 && res.StatusCode != 409 {
				o.t.Errorf("got %d %s", res.StatusCode, text)
			}
		}
	}
}

// untilEmpty waits until no request is listed.
func (o *operator) untilEmpty(pool string) {
	o.t.Helper()
	o.eventually(pool, func(object) bool { return len(o.requests("running", pool))+len(o.requests("waiting", pool)) == 0 })
}
