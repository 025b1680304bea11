package caddymodule_test

import (
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A run that another one around it takes from its backend goes by its own rule, and by
// the other's if it has none: a backend that stops with its connection is not kept for
// the abandoned run.
func TestWhoseRuleDecidesAboutTheBackend(t *testing.T) {
	t.Run("the inner one's", func(t *testing.T) {
		backendStops(t, "", "on_abandon cancel")
	})
	t.Run("the outer one's, without an inner one", func(t *testing.T) {
		backendStops(t, "on_abandon cancel", "")
	})
}

func backendStops(t *testing.T, outside, inside string) {
	stopped := make(chan struct{}, 10)
	s := site.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		stopped <- struct{}{}
	}), `
	offload {
		name outside
		first_byte_timeout 100ms
		abandon_timeout 5m
		breaker off
		`+outside+`
	}
	offload {
		name inside
		abandon_timeout 5m
		breaker off
		`+inside+`
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil || res.StatusCode != http.StatusGatewayTimeout {
			t.Fatalf("got %v, %v, want 504", res, err)
		}
		res.Body.Close()
		testkit.Receive(t, stopped) // the backend is not kept
	})
}
