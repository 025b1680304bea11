package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Commands show why a pool gives out fewer permits than it has, and which runs hold them.
func TestCommandsShowWarmUps(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	route {
		offload {
			name reports
			concurrency 3
			breaker {
				cool_down 1h
			}
		}
		reverse_proxy UPSTREAM
	}`)
	holdOne(t, s, s.Clients()["h2"], "/hold")
	o.offload("breaker", "reports", "open")
	got := o.offload("breaker", "reports", "auto")
	if want := "reports: admitting, 1/3 running, 0/100 waiting, breaker closed, warming up, 1 of 3\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, command := range []string{"pools", "top"} {
		if got := o.offload(command); !strings.Contains(got, "  warming up, 1 of 3\n") || !strings.Contains(got, " 1/3 ") {
			t.Errorf("%s: got %s", command, got)
		}
	}
	if got, want := o.offload("pool", "reports"), "breaker              closed, warming up, 1 of 3\n"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := o.get("pools/{name}", "reports"); got["warming_up"] != 1.0 || got["limit"] != 2.0 || got["permits"] != 3.0 || got["concurrency"] != 3.0 {
		t.Errorf("pool: %v", got)
	}
}

// After a mistyped linger is corrected, lingering permits are released at once.
func TestCommandsTakeBackLinger(t *testing.T) {
	var up site.Counter
	s, o := serveOperated(t, hang(&up), `
	route {
		offload {
			name reports
			concurrency 2
			first_byte_timeout 100ms
			on_abandon cancel
			breaker off
		}
		reverse_proxy UPSTREAM
	}`)
	o.offload("set", "reports", "linger=5h")
	if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != 504 {
		t.Fatalf("got %d", res.StatusCode)
	}
	o.eventually("reports", func(p object) bool { return p["lingering"] == 1.0 })
	if got, want := o.offload("pools"), "  1 lingering, linger 5h (configured off)\n"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	o.offload("reset", "reports")
	if p := o.get("pools/{name}", "reports"); p["lingering"] != 0.0 || p["running"] != 0.0 {
		t.Errorf("pool: %v", p)
	}
}
