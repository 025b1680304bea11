package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

// Commands say why a pool gives out fewer permits than it has, and what holds them.
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
	if want := "reports: open, 1/2 running, 0/100 waiting, breaker closed, warming up, 1 of 3\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, command := range []string{"pools", "top"} {
		if got := o.offload(command); !strings.Contains(got, "  warming up, 1 of 3\n") {
			t.Errorf("%s: got %s", command, got)
		}
	}
	if got, want := o.offload("pool", "reports"), "breaker      closed, warming up, 1 of 3\n"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := o.get("pools/{name}", "reports"); got["warming_up"] != 1.0 || got["limit"] != 2.0 || got["concurrency"] != 3.0 {
		t.Errorf("pool: %v", got)
	}
}
