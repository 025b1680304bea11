package caddymodule_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// attacks are ways in which eight clients of a default pool try to keep its permits. Each
// lasts until the context ends.
var attacks = map[string]func(ctx context.Context, s *site.Site, clients map[string]*http.Client){
	"uploads of gRPC on HTTP/2":             trickle("h2", "Content-Type: application/grpc"),
	"uploads of gRPC on HTTP/3":             trickle("h3", "Content-Type: application/grpc"),
	"uploads of gRPC on HTTP/1":             trickle("h1", "Content-Type: application/grpc"),
	"uploads of Connect":                    trickle("h2", "Content-Type: application/connect+proto"),
	"uploads of lines of JSON":              trickle("h3", "Content-Type: application/x-ndjson"),
	"incremental uploads on HTTP/1":         trickle("h1", "Incremental: ?1"),
	"incremental uploads on HTTP/2":         trickle("h2", "Incremental: ?1"),
	"incremental uploads on HTTP/3":         trickle("h3", "Incremental: ?1"),
	"uploads with an upgrade":               trickle("h1", "Connection: Upgrade\nUpgrade: x"),
	"resumable uploads":                     trickle("h2", "Tus-Resumable: 1.0.0"),
	"readers who say incremental":           read("h1", "Incremental: ?1"),
	"readers who say gRPC":                  read("h2", "Content-Type: application/grpc"),
	"readers who ask for an upgrade":        read("h1", "Connection: Upgrade\nUpgrade: x"),
	"readers who say nothing":               read("h3", "Accept: */*"),
	"resumable uploads that are broken off": breaks,
}

func fieldsOf(text string) http.Header {
	h := make(http.Header)
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	return h
}

// trickle sends a byte now and then, and begins again when it is rejected.
func trickle(version, fields string) func(context.Context, *site.Site, map[string]*http.Client) {
	return func(ctx context.Context, s *site.Site, clients map[string]*http.Client) {
		for ctx.Err() == nil {
			body, rest := io.Pipe()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.Addr+"/attack", body)
			req.Header = fieldsOf(fields)
			go feed(rest, "x", 50*time.Millisecond)
			if res, err := clients[version].Do(req); err == nil {
				res.Body.Close()
			}
			body.Close()
			testkit.Pause(20 * time.Millisecond)
		}
	}
}

// read asks for much and reads nothing.
func read(version, fields string) func(context.Context, *site.Site, map[string]*http.Client) {
	return func(ctx context.Context, s *site.Site, clients map[string]*http.Client) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Addr+"/big", nil)
		req.Header = fieldsOf(fields)
		res, err := clients[version].Do(req)
		<-ctx.Done()
		if err == nil {
			res.Body.Close()
		}
	}
}

// breaks sends parts of uploads and leaves.
func breaks(ctx context.Context, s *site.Site, clients map[string]*http.Client) {
	for ctx.Err() == nil {
		once, leave := context.WithTimeout(ctx, 50*time.Millisecond)
		body, rest := io.Pipe()
		req, _ := http.NewRequestWithContext(once, http.MethodPatch, "https://"+s.Addr+"/attack", body)
		req.Header.Set("Upload-Complete", "?1")
		go feed(rest, strings.Repeat("x", 8<<10), 10*time.Millisecond)
		if res, err := clients["h2"].Do(req); err == nil {
			res.Body.Close()
		}
		body.Close()
		leave()
	}
}

// During attacks by eight clients, the honest requests of a default pool are served. For
// their wait see TestHonestCallersBesideUnspooledBodies, in virtual time.
func TestHonestRequestsBesideAttacks(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			w.Write(make([]byte, 16<<20))
			return
		}
		io.Copy(io.Discard, r.Body)
		testkit.Pause(5 * time.Millisecond)
	}), "offload {\n name attacked\n }\n reverse_proxy UPSTREAM")
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			clients, theirs := s.Clients(), s.Clients()
			ctx, stop := context.WithCancel(t.Context())
			var attackers, honest sync.WaitGroup
			for range 8 {
				attackers.Go(func() { attack(ctx, s, theirs) })
			}
			testkit.Pause(300 * time.Millisecond) // the attack takes all that it can get
			const each = 50
			lost := make([]int, 3)
			for i, c := range []string{"h1", "h2", "h3"} {
				honest.Go(func() {
					for range each {
						req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, strings.NewReader("honest"))
						res, err := clients[c].Do(req)
						if err != nil {
							lost[i]++
							continue
						}
						res.Body.Close()
						if res.StatusCode != 200 {
							lost[i]++
						}
					}
				})
			}
			honest.Wait()
			if n := lost[0] + lost[1] + lost[2]; n > 3*each/100 {
				t.Errorf("%d of %d honest requests were not served, by version %v", n, 3*each, lost)
			}
			stop()
			attackers.Wait()
			o.counts("attacked", 0, 0)
		})
	}
	if p := o.get("pools/{name}", "attacked"); p["breaker"] != "closed" || p["ended_total"].(object)["failure"] != 0.0 {
		t.Errorf("the pool: %v", p)
	}
}
