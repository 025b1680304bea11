package caddymodule_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The most that offload may allocate for a request beyond the handler behind it. They
// are measured values: lower them when the handler gets better.
const (
	beyondAllocs = 6
	beyondBytes  = 2016
)

// Times depend on the machine; allocations and bytes do not, so they are the gate for
// the cost of a request.
func TestHandlerCostsBeyondPlain(t *testing.T) {
	body := make([]byte, 128)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(body)
		return err
	})
	h := provision(t, `{"name":"beyond"}`)
	plain := costOfRequests(t, next)
	ours := costOfRequests(t, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return h.ServeHTTP(w, r, next)
	}))
	allocs, bytes := ours.allocs-plain.allocs, ours.bytes-plain.bytes
	t.Logf("%.2f allocations and %.0f bytes beyond plain, which has %.2f and %.0f", allocs, bytes, plain.allocs, plain.bytes)
	// Maps have random seeds, and the race detector makes pools forget: parts of a
	// mean, below any allocation that each request makes.
	if allocs > beyondAllocs+0.5 || bytes > beyondBytes+8 {
		t.Errorf("%.2f allocations and %.0f bytes, want at most %d and %d", allocs, bytes, beyondAllocs, beyondBytes)
	}
}

// requestCost is the mean of many requests.
type requestCost struct{ allocs, bytes float64 }

// costOfRequests measures several batches of requests and returns the cheapest: other
// goroutines of the process allocate too.
func costOfRequests(t *testing.T, h caddyhttp.Handler) requestCost {
	t.Helper()
	const batches, requests = 5, 1000
	cheapest := requestCost{math.Inf(1), math.Inf(1)}
	for range batches {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range requests {
			w := &nullWriter{header: http.Header{}}
			r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
			if err := h.ServeHTTP(w, r); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		cheapest.allocs = min(cheapest.allocs, float64(after.Mallocs-before.Mallocs)/requests)
		cheapest.bytes = min(cheapest.bytes, float64(after.TotalAlloc-before.TotalAlloc)/requests)
	}
	return cheapest
}
