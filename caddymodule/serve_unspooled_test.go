package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// kinds are fields by which clients ask that their body be passed on as it comes, and the
// versions of HTTP on which they mean something.
var kinds = []struct {
	kind, field, value string
	versions           []string
}{
	{"grpc", "Content-Type", "application/grpc+proto", []string{"h2", "h3"}},
	{"connect", "Content-Type", "application/connect+json; charset=utf-8", []string{"h2", "h3"}},
	{"ndjson", "Content-Type", "application/x-ndjson", []string{"h2", "h3"}},
	{"ndjson", "Content-Type", "application/ndjson", []string{"h2", "h3"}},
	{"incremental", "Incremental", "?1", []string{"h1", "h2", "h3"}},
}

// eachKind runs f for each kind on each version that has it.
func eachKind(t *testing.T, s *site.Site, f func(t *testing.T, a attacker)) {
	clients := s.Clients()
	for _, k := range kinds {
		for _, version := range k.versions {
			t.Run(k.kind+" "+k.value+" "+version, func(t *testing.T) {
				f(t, attacker{t: t, c: clients[version], alone: version == "h1", url: "https://" + s.Addr, kind: k.kind, field: k.field, value: k.value})
			})
		}
	}
}

// attacker opens requests whose bodies do not end.
type attacker struct {
	t                       *testing.T
	c                       *http.Client
	alone                   bool // each request on a connection that the server is not about to close
	url, kind, field, value string
}

// open begins a request with one byte of its body, and returns how to write the rest.
func (a attacker) open() (*asked, *io.PipeWriter) {
	body, rest := io.Pipe()
	ctx, cancel := context.WithCancel(a.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set(a.field, a.value)
	req.Close = a.alone
	answer := askFor(a.c, req)
	go io.WriteString(rest, "x")
	a.t.Cleanup(func() {
		cancel()
		rest.CloseWithError(context.Canceled)
		<-answer.done
	})
	return answer, rest
}

// within reports whether something has come that should come soon.
func within(t *testing.T, c <-chan struct{}) bool {
	t.Helper()
	select {
	case <-c:
		return true
	case <-time.After(20 * time.Second):
		t.Error("nothing has come within 20s")
		return false
	}
}

// discards is an upstream that answers when it has the whole body.
func discards(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, n)
}

// Requests that decide by their header fields how long they hold a permit get at most half
// of the permits, and are rejected beyond that. Other requests are served meanwhile.
func TestUnspooledBodiesHoldHalfOfThePermits(t *testing.T) {
	for _, permits := range []int{1, 4} {
		s, o := serveOperated(t, http.HandlerFunc(discards), fmt.Sprintf(`
		offload {
			name half
			concurrency %d
			queue 10
			max_wait off
			proxy_status_name edge
		}
		reverse_proxy UPSTREAM`, permits))
		half := max(permits/2, 1)
		eachKind(t, s, func(t *testing.T, a attacker) {
			var ends []*io.PipeWriter
			for range half {
				_, end := a.open()
				ends = append(ends, end)
				o.eventually("half", func(p object) bool { return p["unspooled"] == float64(len(ends)) })
			}
			for _, r := range o.requests("running", "half") {
				if r["unspooled"] != a.kind {
					t.Errorf("listed as %v", r)
				}
			}
			refused, end := a.open()
			if !within(t, refused.head) {
				return
			}
			wantLimited(t, a.kind, refused.res)
			end.Close()
			if permits > half {
				site.Get(t, a.c, a.url)
			}
			ends[0].Close()
			o.eventually("half", func(p object) bool { return p["running"] == float64(half-1) })
			again, end := a.open()
			end.Close()
			again.want(t, 200)
		})
		o.counts("half", 0, 0)
	}
}

// wantLimited checks the answer to a request beyond the half.
func wantLimited(t *testing.T, kind string, res *http.Response) {
	t.Helper()
	h := res.Header
	if kind == "grpc" {
		if res.StatusCode != 200 || h.Get("Grpc-Status") != "8" || h.Get("Grpc-Message") == "" {
			t.Errorf("got %d %v", res.StatusCode, h)
		}
	} else if res.StatusCode != 429 {
		t.Errorf("got %d", res.StatusCode)
	}
	if h.Get("Retry-After") == "" || h.Get("Proxy-Status") != `edge;error=connection_limit_reached;details="unspooled_limit"` {
		t.Errorf("got %v", h)
	}
}

// The kinds that a route names in unspooled may take all permits. Other kinds are spooled
// like any other body.
func TestUnspooledLiftsTheHalf(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(discards), `
	offload {
		name lifted
		concurrency 2
		queue 0
		unspooled grpc connect ndjson incremental
	}
	reverse_proxy UPSTREAM`)
	eachKind(t, s, func(t *testing.T, a attacker) {
		first, end := a.open()
		second, last := a.open()
		o.counts("lifted", 2, 0)
		third, rest := a.open()
		if !within(t, third.head) {
			return
		}
		if status := third.res.StatusCode; status != 503 && third.res.Header.Get("Grpc-Status") != "14" {
			t.Errorf("got %d %v", status, third.res.Header)
		}
		for _, w := range []*io.PipeWriter{end, last, rest} {
			w.Close()
		}
		first.want(t, 200)
		second.want(t, 200)
		o.counts("lifted", 0, 0)
	})
}

// Kinds of bodies that a route does not honour are spooled. If a client forbids that delay
// (RFC 10036), it is rejected before its body is read.
func TestUnspooledKindsThatAreNotHonoured(t *testing.T) {
	for _, words := range []string{"unspooled off", "unspooled upgrade"} {
		s, o := serveOperated(t, http.HandlerFunc(discards), `
		offload {
			name spools
			proxy_status_name edge
			`+words+`
		}
		reverse_proxy UPSTREAM`)
		eachKind(t, s, func(t *testing.T, a attacker) {
			answer, end := a.open()
			if a.kind == "incremental" {
				if !within(t, answer.head) {
					return
				}
				if res := answer.res; res.StatusCode != 501 || res.Header.Get("Retry-After") != "" ||
					res.Header.Get("Proxy-Status") != `edge;error=http_request_denied;details="incremental_refused"` {
					t.Errorf("got %d %v", res.StatusCode, res.Header)
				}
				return
			}
			o.eventually("spools", func(p object) bool { return p["uploading"] == 1.0 && p["running"] == 0.0 })
			end.Close()
			answer.want(t, 200)
		})
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			for _, value := range []string{"?0", "yes", "?1"} {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				req.Header.Set("Incremental", value) // and nothing to pass on
				if res, _ := site.Do(t, c, req); res.StatusCode != 200 {
					t.Errorf("%s without a body: got %d", value, res.StatusCode)
				}
			}
		})
		for _, version := range []string{"h2", "h3"} {
			req := callRequest(t, "https://"+s.Addr, "")
			req.Header.Set("Incremental", "?1")
			if res, _ := site.Do(t, s.Clients()[version], req); res.Header.Get("Grpc-Status") != "12" {
				t.Errorf("an incremental call on %s: got %v", version, res.Header)
			}
		}
	}
}

// If the fields do not apply to the kind of request or to the version of HTTP, the body is
// spooled, and a slow client holds no permit.
func TestBodiesThatAreSpooledAllTheSame(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(discards), "offload {\n name ordinary\n }\n reverse_proxy UPSTREAM")
	for name, tt := range map[string]struct{ version, fields string }{
		"gRPC on HTTP/1":              {"h1", "Content-Type: application/grpc"},
		"Connect on HTTP/1":           {"h1", "Content-Type: application/connect+proto"},
		"lines of JSON on HTTP/1":     {"h1", "Content-Type: application/x-ndjson"},
		"an upgrade with a body":      {"h1", "Connection: Upgrade\nUpgrade: websocket"},
		"one message of Connect":      {"h2", "Content-Type: application/proto"},
		"JSON of Connect":             {"h2", "Content-Type: application/json\nConnect-Protocol-Version: 1"},
		"gRPC for the web":            {"h2", "Content-Type: application/grpc-web+proto"},
		"a resumable upload":          {"h2", "Tus-Resumable: 1.0.0"},
		"no incremental":              {"h3", "Incremental: ?0"},
		"an upgrade field on HTTP/3":  {"h3", "Upgrade: websocket"},
		"lines of JSON with a length": {"h2", "Content-Type: application/x-ndjson\nContent-Length: 5"},
	} {
		t.Run(name, func(t *testing.T) {
			body, rest := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, body)
			for line := range strings.Lines(tt.fields) {
				field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				if field == "Content-Length" {
					req.ContentLength = 5
					continue
				}
				req.Header.Set(field, value)
			}
			answer := askFor(s.Clients()[tt.version], req)
			io.WriteString(rest, "body")
			o.eventually("ordinary", func(p object) bool { return p["uploading"] == 1.0 && p["running"] == 0.0 })
			io.WriteString(rest, "!")
			rest.Close()
			answer.want(t, 200)
			if answer.body != "5" {
				t.Errorf("the upstream has got %s bytes", answer.body)
			}
		})
	}
}

// Client and backend of a stream talk to each other, message by message.
func TestConversations(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(echoes), "offload {\n name talks\n concurrency 1\n }\n reverse_proxy UPSTREAM")
	eachKind(t, s, func(t *testing.T, a attacker) {
		if strings.HasSuffix(t.Name(), "h1") {
			return // HTTP/1 clients of Go do not read before they have written
		}
		body, writer := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url, body)
		req.Header.Set(a.field, a.value)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, 4)
		for range 3 {
			io.WriteString(writer, "ping")
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "ping" {
				t.Fatalf("got %q, %v", buf, err)
			}
		}
		writer.Close()
		if rest, err := readAll(res.Body); rest != "" || err != nil {
			t.Errorf("got %q, %v", rest, err)
		}
	})
	for _, line := range s.AccessLog(9) {
		if kind, _ := line["offload"].(map[string]any)["unspooled"].(string); kind == "" {
			t.Errorf("logged %v", line["offload"])
		}
	}
}

// Calls with one message are no streams: their bodies arrive with their heads. Any number
// of them at once waits for permits like other requests.
func TestCallsWithOneMessageNeedNoShare(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		testkit.Pause(5 * time.Millisecond)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "0")
	}), "offload {\n name unary\n concurrency 2\n max_wait off\n order fifo\n }\n reverse_proxy UPSTREAM")
	for _, version := range []string{"h2", "h3"} {
		c := s.Clients()[version]
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				for range 5 {
					if res, _ := call(t, c, "https://"+s.Addr, ""); res.Header.Get("Grpc-Status") != "0" {
						t.Errorf("%s: got %d %v", version, res.StatusCode, res.Header)
					}
				}
			})
		}
		calls.Wait()
	}
	o.counts("unary", 0, 0)
}

// A stream that waits for its permit loses none of the bytes that are read meanwhile.
func TestStreamsThatWait(t *testing.T) {
	got := make(chan string, 10)
	busy := newBusy()
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			busy.ServeHTTP(w, r)
			return
		}
		b, err := io.ReadAll(r.Body)
		got <- fmt.Sprint(len(b), err)
	}), "offload {\n name waits\n concurrency 1\n max_wait off\n }\n reverse_proxy UPSTREAM")
	eachKind(t, s, func(t *testing.T, a attacker) {
		for _, size := range []int{0, 1000, 200_000} {
			holder := ask(t, a.c, a.url)
			testkit.Eventually(t, func() bool { return busy.Now.Load() == 1 })
			stream, rest := a.open()
			written := make(chan struct{})
			go func() {
				defer close(written)
				io.WriteString(rest, strings.Repeat("x", size))
			}()
			o.untilWaiting("waits", 1)
			busy.end(t, 1)
			holder.want(t, 200)
			<-written
			io.WriteString(rest, "y")
			rest.Close()
			stream.want(t, 200)
			if n := <-got; n != fmt.Sprint(size+2, nil) {
				t.Errorf("the backend has got %s of %d bytes", n, size+2)
			}
		}
	})
	o.counts("waits", 0, 0)
}

// echoes answers each message of four bytes with the same, in the type it came in.
func echoes(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	http.NewResponseController(w).Flush()
	buf := make([]byte, 4)
	for {
		if _, err := io.ReadFull(r.Body, buf); err != nil {
			return
		}
		w.Write(buf)
		http.NewResponseController(w).Flush()
	}
}

// A request cannot ask for a response that is written directly: a slow reader holds no
// permit.
func TestRequestFieldsSayNothingOfTheAnswer(t *testing.T) {
	const size = 8 << 20
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, size))
	}), "offload {\n name answers\n concurrency 1\n queue 0\n }\n reverse_proxy UPSTREAM")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for _, field := range []string{"Incremental: ?1", "Content-Type: application/grpc", "Content-Type: application/connect+proto", "Upgrade: x"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				req, _ := http.NewRequestWithContext(t.Context(), method, url, nil)
				name, value, _ := strings.Cut(field, ": ")
				req.Header.Set(name, value)
				if name == "Upgrade" {
					if !strings.HasSuffix(t.Name(), "/h1") {
						continue // its client does not send it
					}
					req.Header.Set("Connection", "Upgrade")
				}
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				o.counts("answers", 0, 0) // the client has read nothing yet
				if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
					t.Errorf("%s: got %d bytes, %v", field, n, err)
				}
				res.Body.Close()
			}
		}
	})
}
