package serving

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
)

// What a request pays for being listed: its identity, three phases, and a place in
// the list of its pool. Repeat with
//
//	go test -run '^$' -bench Listing ./caddymodule
func BenchmarkListing(b *testing.B) {
	rt := &Route{Settings: Settings{Pool: &pools.Pool{}}}
	r := httptest.NewRequest("GET", "/some/path", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), &caddyhttp.Server{})
	now := time.Now()
	run := &Run{Route: rt}
	b.ReportAllocs()
	for b.Loop() {
		run.who, run.listed = requests.IdentityOf(r, now, false), false
		run.enter(requests.PhaseUploading, now)
		run.enter(requests.PhaseRunning, now)
		run.enter(requests.PhaseStreaming, now)
		rt.Pool.Requests.Remove(&run.entry)
	}
}
