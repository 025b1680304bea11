package caddymodule

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/metrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Benchmarks the cost of metrics and of the fields of the access log for a request, as a
// share of the shortest proxied request: one that its backend answers at once, over
// existing connections, with an access log. The difference is below the
// noise of a network, so it is measured at the handler, in turns with and without, and
// then for the whole request, client and backend included.
//
//	go test -run '^$' -bench Telemetry -count 5 ./caddymodule
func BenchmarkTelemetry(b *testing.B) {
	pool, get := benchmarkSite(b)
	waits, runs := pool.Waits, pool.Runs
	handle := benchmarkHandler(b)
	silent, logged := &caddyhttp.Server{}, &caddyhttp.Server{Logs: &caddyhttp.ServerLogConfig{}}
	const turns, requests = 100, 200
	var without, counted, both, whole []time.Duration
	for b.Loop() {
		for range turns {
			pool.Waits, pool.Runs = silence{}, silence{}
			without = append(without, timed(requests, func() { handle(silent) }))
			pool.Waits, pool.Runs = waits, runs
			counted = append(counted, timed(requests, func() { handle(silent) }))
			both = append(both, timed(requests, func() { handle(logged) }))
			whole = append(whole, timed(requests/10, get)*10)
		}
	}
	request := float64(fastest(whole))
	metrics, fields := fastest(counted)-fastest(without), fastest(both)-fastest(counted)
	b.ReportMetric(0, "ns/op") // of no meaning here
	b.ReportMetric(request/requests, "ns/request")
	b.ReportMetric(100*float64(metrics)/request, "%metrics")
	b.ReportMetric(100*float64(fields)/request, "%fields")
}

// One scrape of a hundred pools.
func BenchmarkScrape(b *testing.B) {
	for n := range 100 {
		name := fmt.Sprint("scraped", n)
		if _, err := process.Pools.Open(name, offloader.DefaultSettings()); err != nil {
			b.Fatal(err)
		}
		defer func() { _, _ = process.Pools.Named.Delete(name) }()
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.Collector{Process: process})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func timed(n int, do func()) time.Duration {
	began := time.Now()
	for range n {
		do()
	}
	return time.Since(began)
}

// fastest is the time that other processes have disturbed least.
func fastest(all []time.Duration) time.Duration { return slices.Min(all) }

// silence is a histogram that discards all observations.
type silence struct{ prometheus.Histogram }

func (silence) Observe(float64) {}

// benchmarkSite runs Caddy with one pool in front of a backend, and returns the pool and a
// function that sends a request.
func benchmarkSite(b *testing.B) (pool *pools.Pool, get func()) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "answer")
	}))
	b.Cleanup(backend.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	b.Setenv("XDG_DATA_HOME", b.TempDir())
	if err := load(`{"http": {"servers": {"bench": {"listen": ["` + addr + `"], "logs": {}, "routes": [{"handle": [
		{"handler": "offload", "name": "telemetry"},
		{"handler": "reverse_proxy", "upstreams": [{"dial": "` + backend.Listener.Addr().String() + `"}]}]}]}}}}`); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			b.Error(err)
		}
	})
	process.Pools.Named.Range(func(_, v any) bool {
		pool = v.(*pools.Pool)
		return true
	})
	return pool, func() {
		res, err := http.Get("http://" + addr)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// benchmarkHandler returns a function that takes a request through the handler of that
// pool and, if the server logs, writes the field of the access log.
func benchmarkHandler(b *testing.B) func(*caddyhttp.Server) {
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	b.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("http.handlers.offload", []byte(`{"name": "telemetry"}`))
	if err != nil {
		b.Fatal(err)
	}
	var served zapcore.ObjectMarshaler
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		served = serving.LogObject(r.Context())
		_, err := io.WriteString(w, "answer")
		return err
	})
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", EncodeDuration: zapcore.SecondsDurationEncoder})
	usual := []zap.Field{zap.String("uri", "/"), zap.Int("status", 200), zap.Duration("duration", time.Second)}
	return func(s *caddyhttp.Server) {
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, s)
		if err := module.(*Handler).ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
		fields := usual
		if s.Logs != nil {
			fields = append(slices.Clip(fields), zap.Object("offload", served))
		}
		line, err := encoder.EncodeEntry(zapcore.Entry{Message: "handled request"}, fields)
		if err != nil {
			b.Fatal(err)
		}
		line.Free()
	}
}
