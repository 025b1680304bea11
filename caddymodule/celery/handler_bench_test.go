package celery_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
)

// Benchmarks the whole way of a request with servers in memory and a worker that echoes: the
// cost of the handler and the client, including that of the other side. Repeat with
//
//	go test -run '^$' -bench Call ./caddymodule/celery
func BenchmarkCall(b *testing.B) {
	memory := celerytest.NewMemory()
	celeryhandler.RegisterServer("bench", func(string) (celeryhandler.Server, error) { return memory, nil })
	working, stop := context.WithCancel(b.Context())
	var worker sync.WaitGroup
	worker.Go(func() { _ = celerytest.Work(working, memory, "celery", celerytest.Echo) })
	defer worker.Wait()
	defer stop()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		b.Fatal(err)
	}
	module, err := ctx.LoadModuleByID("http.handlers.celery", json.RawMessage(
		`{"broker": "bench://", "backend": "bench://", "worker_check": "off", "task_check": "off", "task": "lab.echo", "args": ["int({http.request.uri.query.n})"]}`))
	if err != nil {
		b.Fatal(err)
	}
	h := module.(*celeryhandler.Handler)
	b.Cleanup(func() { _ = h.Cleanup() })
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/?n=7", nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
		if err := h.ServeHTTP(w, r, next); err != nil || w.Body.String() != "7" {
			b.Fatalf("got %d %s %v", w.Code, w.Body, err)
		}
	}
}
