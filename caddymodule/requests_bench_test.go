package caddymodule

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What a request pays for being listed: its identity, three phases, and a place in
// the list of its pool. Repeat with
//
//	go test -run '^$' -bench Listing ./caddymodule
func BenchmarkListing(b *testing.B) {
	rt := &route{routeSettings: routeSettings{Pool: &livePool{}}}
	r := httptest.NewRequest("GET", "/some/path", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), &caddyhttp.Server{})
	now := time.Now()
	run := &run{route: rt}
	b.ReportAllocs()
	for b.Loop() {
		run.who, run.listed = identityOf(r, now, false), false
		run.enter(phaseUploading, now)
		run.enter(phaseRunning, now)
		run.enter(phaseStreaming, now)
		rt.Pool.requests.remove(&run.entry)
	}
}
