package leave

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A client that resets its requests as fast as it can holds nothing in the end: no permit,
// no place and no spool stays taken.
func TestLeaveByResets(t *testing.T) {
	folder := t.TempDir()
	s := site.ServeGlobal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 300<<10))
	}), "offload {\nspool {\ndir "+folder+"\n}\n}", `
	offload {
		name resets
		concurrency 2
		queue 10
		request_spool 1KiB 1MiB
		response_spool 1KiB 1MiB
		breaker {
			consecutive_failures 1
		}
	}
	`+kit.StateRoute+`
	reverse_proxy UPSTREAM`)
	tests := map[string]func(c *kit.HTTP2Conn, stream uint32){
		"at once": func(c *kit.HTTP2Conn, stream uint32) { c.Headers(stream, false, kit.Head("POST")...) },
		"while uploading": func(c *kit.HTTP2Conn, stream uint32) {
			c.Headers(stream, false, kit.Head("POST")...)
			c.Data(stream, false, kit.Smuggled)
		},
		"when it is sent": func(c *kit.HTTP2Conn, stream uint32) { c.Headers(stream, true, kit.Head("GET")...) },
	}
	for name, ask := range tests {
		t.Run(name, func(t *testing.T) {
			before := kit.InGate.Total.Load()
			for range 5 { // the server ends connections that do too much of this
				c := kit.DialHTTP2(t, s.Clear)
				go io.Copy(io.Discard, c.Conn)
				for i := range uint32(100) {
					ask(c, 2*i+1)
					c.Framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
				}
				testkit.Eventually(t, func() bool { return kit.InGate.Total.Load() > before })
				c.Conn.Close()
			}
			testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 0 })
			kit.Idle(t, s)
			nothingLeft(t, folder)
		})
	}
}
