package fidelity_test

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A client that resets what it asks for, as fast as it can, ends up with nothing:
// no permit, no place and no spool stays taken.
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
	`+stateRoute+`
	reverse_proxy UPSTREAM`)
	tests := map[string]func(c *rawHTTP2, stream uint32){
		"at once": func(c *rawHTTP2, stream uint32) { c.headers(stream, false, rawHead("POST")...) },
		"while uploading": func(c *rawHTTP2, stream uint32) {
			c.headers(stream, false, rawHead("POST")...)
			c.data(stream, false, rawSmuggled)
		},
		"when it is sent": func(c *rawHTTP2, stream uint32) { c.headers(stream, true, rawHead("GET")...) },
	}
	for name, ask := range tests {
		t.Run(name, func(t *testing.T) {
			before := inGate.Total.Load()
			for range 5 { // the server ends connections that do too much of this
				c := dialHTTP2(t, s.Clear)
				go io.Copy(io.Discard, c.conn)
				for i := range uint32(100) {
					ask(c, 2*i+1)
					c.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
				}
				site.Eventually(t, func() bool { return inGate.Total.Load() > before })
				c.conn.Close()
			}
			site.Eventually(t, func() bool { return inGate.Now.Load() == 0 })
			idle(t, s)
			nothingLeft(t, folder)
		})
	}
}
