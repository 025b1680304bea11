package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule"
)

// Benchmarks a handler that writes 128 bytes, without offload and with it. The
// allocations of offload are the difference. Repeat with
//
//	go test -run '^$' -bench Handler ./caddymodule
func BenchmarkHandler(b *testing.B) {
	body := make([]byte, 128)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(body)
		return err
	})
	b.Run("without", func(b *testing.B) { benchmarkHandler(b, next) })
	for name, words := range map[string]string{"gate": `"breaker":{"off":true},`, "breaker": ""} {
		b.Run(name, func(b *testing.B) {
			h := provision(b, `{`+words+`"name":"bench"}`)
			benchmarkHandler(b, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				return h.ServeHTTP(w, r, next)
			}))
		})
	}
}

// Benchmarks a rejection: the pool is full and has no queue.
func BenchmarkRefusal(b *testing.B) {
	h := provision(b, `{"name":"refusals","concurrency":1,"queue":0,"breaker":{"off":true}}`)
	held, release := make(chan struct{}), make(chan struct{})
	holder := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		close(held)
		<-release
		return nil
	})
	go benchmarkOne(h, holder)
	<-held
	defer close(release)
	benchmarkHandler(b, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return h.ServeHTTP(w, r, holder)
	}))
}

func benchmarkOne(h *caddymodule.Handler, next caddyhttp.Handler) {
	w := &nullWriter{header: http.Header{}}
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	_ = h.ServeHTTP(w, r, next)
}

// The handler makes at most six allocations, apart from the bridge (which is one) and
// the run's header map.
func TestHandlerAllocations(t *testing.T) {
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write([]byte("body"))
		return err
	})
	h := provision(t, `{"name":"allocations"}`)
	w := &nullWriter{header: http.Header{}}
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	got := testing.AllocsPerRun(100, func() {
		if err := h.ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.0f allocations", got)
	if got > 6+2 {
		t.Errorf("%.0f allocations for one request, want at most 8", got)
	}
}

func benchmarkHandler(b *testing.B, h caddyhttp.Handler) {
	b.ReportAllocs()
	for b.Loop() {
		w := &nullWriter{header: http.Header{}}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		if err := h.ServeHTTP(w, r); err != nil {
			b.Fatal(err)
		}
	}
}

type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header       { return w.header }
func (*nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (*nullWriter) WriteHeader(int)             {}

func provision(tb testing.TB, config string) *caddymodule.Handler {
	tb.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	tb.Cleanup(cancel)
	v, err := ctx.LoadModuleByID("http.handlers.offload", []byte(config))
	if err != nil {
		tb.Fatal(err)
	}
	return v.(*caddymodule.Handler)
}
