package bridge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// nothing is a client's writer, and an owner, that does nothing.
type nothing struct{ header http.Header }

func (n *nothing) Header() http.Header         { return n.header }
func (n *nothing) WriteHeader(int)             {}
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n *nothing) FlushError() error           { return nil }
func (n *nothing) HeadSent(int, bool)          {}
func (n *nothing) GoesOn()                     {}
func (n *nothing) Upgraded()                   {}
func (n *nothing) ClientLost()                 {}

// BenchmarkResponse is what a response costs beyond net/http: a header of five
// fields and a body in pieces as reverse_proxy copies them.
func BenchmarkResponse(b *testing.B) {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	respond := func(w http.ResponseWriter, size int) {
		h := w.Header()
		for _, name := range []string{"Content-Type", "Last-Modified", "Etag", "Cache-Control", "X-Request-Id"} {
			h[name] = fields[name]
		}
		w.WriteHeader(http.StatusOK)
		for at := 0; at < size; at += 32 * kib {
			_, _ = w.Write(pattern(size)[at:min(at+32*kib, size)])
		}
	}
	for _, size := range []int{128, 64 * kib, mib} {
		b.Run(fmt.Sprintf("plain/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				respond(&nothing{header: make(http.Header)}, size)
			}
		})
		b.Run(fmt.Sprintf("bridge/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			o := bridge.Options{Nudge: timerlist.New(nudgeAfter), Owner: &nothing{}}
			o.Stream.Budget = spool.NewBudget(spool.DefaultLimits())
			o.Stream.Bounds = spool.Bounds{Memory: 256 * kib, File: mib}
			o.Stream.Patience = patience
			for b.Loop() {
				w := new(bridge.Writer)
				w.Init(&nothing{header: make(http.Header)}, req, o)
				respond(w, size)
				w.Finish(nil)
			}
		})
	}
}

var fields = http.Header{
	"Content-Type": {"text/plain"}, "Etag": {`"1"`}, "Cache-Control": {"no-store"}, "X-Request-Id": {"42"}, "Last-Modified": {"Sun, 09 Sep 2001 01:46:40 GMT"},
}
