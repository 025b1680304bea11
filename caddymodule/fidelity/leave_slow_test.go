package fidelity_test

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A client that stops reading for good costs no permit, and what is kept for it is
// freed when Caddy's own limit for idle writes ends it.
func TestLeaveByReadingNoMore(t *testing.T) {
	var up site.Counter
	folder := t.TempDir()
	s := site.ServeGlobal(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		up.Enter()
		defer up.Leave()
		w.Write(make([]byte, 32<<20))
	}), `
	servers {
		protocols h1 h2 h2c h3
		timeouts {
			write_idle 500ms
		}
	}
	offload {
		spool {
			dir `+folder+`
		}
	}`, `
	gate
	offload {
		name reads-no-more
		concurrency 1
		queue 0
		breaker {
			consecutive_failures 1
		}
	}
	`+stateRoute+`
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		site.Eventually(t, func() bool { return up.Now.Load() == 0 })
		idle(t, s) // the permit is back
		if len(openFiles(folder)) != 1 {
			t.Errorf("%d files are open, want that of the response", len(openFiles(folder)))
		}
		site.Eventually(t, func() bool { return inGate.Now.Load() == 0 })
		nothingLeft(t, folder)
		if n, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Errorf("a clean end after %d bytes", n)
		}
	})
}

// A client that resets what it asks for, as fast as it can, ends up with nothing:
// no permit, no place and no spool stays taken.
func TestLeaveByResets(t *testing.T) {
	folder := t.TempDir()
	s := site.ServeGlobal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 300<<10))
	}), "offload {\nspool {\ndir "+folder+"\n}\n}", `
	gate
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
