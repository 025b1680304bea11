package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Two of three upstreams are down, and reverse_proxy neither checks nor tries again. Each
// request goes back to the queue until it has come to the one that serves it.
func TestRequestsSwitchToAnotherUpstream(t *testing.T) {
	all := replicas(t, 3, time.Millisecond)
	all[0].kill()
	all[1].kill()
	s := site.Serve(t, nil, balanced(all, "upstream_concurrency 4", "", ""))
	for range 12 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if res, body := site.Do(t, s.Clients()["h2"], req); res.StatusCode != http.StatusOK || body != all[2].addr {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	}
}

// With all upstreams down a request is not sent again and again.
func TestSwitchesEnd(t *testing.T) {
	all := replicas(t, 2, time.Millisecond)
	all[0].kill()
	all[1].kill()
	s := site.Serve(t, nil, balanced(all, "upstream_concurrency 4", "", ""))
	if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d", res.StatusCode)
	}
	if sends := s.AccessLog(1)[0]["offload"].(map[string]any)["sends"]; sends != 4.0 {
		t.Errorf("sent %v times", sends)
	}
}

// With a breaker for each upstream a bad one is taken out, and the pool stays closed.
func TestABadUpstreamIsTakenOut(t *testing.T) {
	var asked atomic.Int32
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(bad.Close)
	good := replicas(t, 1, time.Millisecond)
	s, o := serveOperated(t, nil, `
	offload {
		name mixed
		upstream_concurrency 1
		breaker {
			consecutive_failures 3
			cool_down 1h
			scope upstream
		}
	}
	reverse_proxy `+bad.Listener.Addr().String()+addresses(good)+` {
		lb_policy offload
	}`)
	failed := 0
	for range 30 {
		if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != http.StatusOK {
			failed++
		}
	}
	if failed != 3 || asked.Load() != 3 {
		t.Errorf("%d requests failed, and the bad upstream got %d: want 3", failed, asked.Load())
	}
	pool := o.get("pools/{name}", "mixed")
	upstream := pool["upstreams"].([]any)[0].(object)
	if pool["breaker"] != "closed" || upstream["breaker"] != "open" || upstream["available"] != false {
		t.Errorf("pool: %v", pool)
	}
	if got := o.offload("pool", "mixed"); !strings.Contains(got, "no         open") {
		t.Errorf("got\n%s", got)
	}
}
