package caddymodule_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Outer handlers expand placeholders when the head is written, which touches
// vars, replacer and log fields; the run behind touches them all the time. None
// of them has a lock. (Handlers that ran the rest of the chain concurrently with the
// request have brought whole servers down: darkweak/souin#337.)
func TestStateOfARequestStaysOnItsGoroutine(t *testing.T) {
	name := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
		touch := func(i int) {
			caddyhttp.SetVar(r.Context(), fmt.Sprintf("var-%d", i%7), i)
			r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields).Set(zapField(i))
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			repl.ReplaceAll("{http.vars.var-1}{http.request.uuid}{http.offload.run_ms}", "")
			w.Header().Set(fmt.Sprintf("X-%d", i%5), "late")
		}
		touch(0)
		w.Header().Set("X-From-Run", "yes")
		for i := range 40 {
			if _, err := w.Write(make([]byte, 8<<10)); err != nil {
				return err
			}
			if i%3 == 0 {
				http.NewResponseController(w).Flush()
			}
			touch(i)
		}
		return nil
	})
	s := site.Serve(t, nil, `
	header {
		>X-Wait "{http.offload.queue_wait_ms} {http.vars.var-0} {http.request.uuid}"
		>X-Pool "{http.offload.pool}"
		defer
	}
	encode gzip
	log_append outcome {http.offload.outcome}
	offload {
		name state
		concurrency 4
	}
	`+name)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				res, body := site.Get(t, c, url)
				if len(body) != 40*8<<10 || res.Header.Get("X-Pool") != "state" || res.Header.Get("X-From-Run") != "yes" {
					t.Errorf("got %d bytes, %v", len(body), res.Header)
				}
			})
		}
		all.Wait()
	})
	for _, line := range s.AccessLog(36) {
		fields, _ := line["offload"].(map[string]any)
		if line["outcome"] != "success" || fields["pool"] != "state" || fields["outcome"] != "success" {
			t.Fatalf("logged %v", line)
		}
	}
}

// Panics of the run reach outer handlers as the identical value, and its permit is
// released.
func TestPanicsKeepTheirIdentity(t *testing.T) {
	boom := errors.New("boom")
	for name, value := range map[string]any{"abort": http.ErrAbortHandler, "error": boom} {
		t.Run(name, func(t *testing.T) {
			inner := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error { panic(value) })
			caught := make(chan any, 10)
			catching(t, caught)
			s := site.Serve(t, nil, `
	route {
		catch
		offload {
			name panics
			concurrency 1
			queue 0
			breaker {
				consecutive_failures 3
			}
		}
		`+inner+`
	}`)
			c := s.Clients()["h1"]
			for i := range 4 {
				res, _ := site.Get(t, c, "https://"+s.Addr)
				if i < 3 {
					if got := <-caught; got != value {
						t.Errorf("caught %v", got)
					}
				} else if res.StatusCode != 503 {
					t.Errorf("got %d: three panics are three failures", res.StatusCode)
				}
			}
		})
	}
}

// A reload changes the limits of a queue with waiters and loses none of them; one that
// fails changes nothing.
func TestReloadUnderAQueue(t *testing.T) {
	var up site.Counter
	work := make(chan struct{})
	body := func(concurrency int, extra string) string {
		return fmt.Sprintf(`
	offload {
		name reloads
		concurrency %d
		queue 20
		max_wait 5m
		order fifo
		breaker off
	}
	%s
	behind %s`, concurrency, extra, t.Name())
	}
	site.HandleBehind(t, func(w http.ResponseWriter, _ *http.Request) error {
		up.Enter()
		defer up.Leave()
		<-work
		_, err := io.WriteString(w, "done")
		return err
	})
	s, o := serveOperatedWith(t, nil, longGrace, body(1, ""))
	var all sync.WaitGroup
	for range 10 {
		for _, c := range s.Clients() {
			all.Go(func() {
				if res, body := site.Get(t, c, "https://"+s.Addr); res.StatusCode != 200 || body != "done" {
					t.Errorf("got %d %q", res.StatusCode, body)
				}
			})
			break
		}
	}
	o.eventually("reloads", func(p object) bool { return p["waiting"] == 9.0 && up.Now.Load() == 1 })
	broken := bytes.Replace(s.Config(body(5, "")), []byte(`"handler":"own"`), []byte(`"handler":"missing"`), 1)
	_ = s.LoadFails(broken)
	testkit.Quiet(50 * time.Millisecond)
	if now := up.Now.Load(); now != 1 {
		t.Errorf("%d run after a reload that failed, want 1", now)
	}
	s.Load(body(4, ""))
	testkit.Eventually(t, func() bool { return up.Now.Load() == 4 })
	for range 50 {
		s.Load(body(4, fmt.Sprintf("header X-Load %d", up.Total.Load())))
	}
	close(work)
	all.Wait()
	if most := up.Most.Load(); most != 4 {
		t.Errorf("the upstream saw %d at once, want 4", most)
	}
}

// An upgraded connection leaves the pool, or keeps its permit; an Upgrade field
// that the upstream ignores is no way around the queue.
func TestUpgrades(t *testing.T) {
	for words, status := range map[string]int{"upgrades pass": 200, "upgrades hold": 503} {
		t.Run(words, func(t *testing.T) {
			s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") == "" || r.URL.Path == "/ignores" {
					io.WriteString(w, "plain")
					return
				}
				w.Header().Set("Upgrade", "echo")
				w.Header().Set("Connection", "Upgrade")
				w.WriteHeader(http.StatusSwitchingProtocols)
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				line, _ := buf.ReadString('\n')
				io.WriteString(conn, "echo "+line)
				_, _ = buf.ReadString('\n')
			}), `
	metrics /metrics
	@all not path /metrics
	offload @all {
		name upgrades
		concurrency 1
		queue 0
		run_timeout 30s
		`+words+`
	}
	reverse_proxy UPSTREAM`)
			c := s.Clients()["h1"]
			upgrade := func(path string) *http.Response {
				req, _ := http.NewRequest(http.MethodGet, "https://"+s.Addr+path, nil)
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "echo")
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			if res := upgrade("/ignores"); res.StatusCode != 200 {
				t.Errorf("got %d", res.StatusCode)
			}
			res := upgrade("/")
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %d", res.StatusCode)
			}
			tunnel := res.Body.(io.ReadWriteCloser)
			defer tunnel.Close()
			io.WriteString(tunnel, "hello\n")
			buf := make([]byte, 11)
			if _, err := io.ReadFull(tunnel, buf); err != nil || string(buf) != "echo hello\n" {
				t.Errorf("got %q, %v", buf, err)
			}
			want := map[string]float64{"upgraded{pool=upgrades}": 1, "running{pool=upgrades}": 0, "run_seconds_count{pool=upgrades}": 2}
			if words == "upgrades hold" {
				want = map[string]float64{"upgraded{pool=upgrades}": 0, "running{pool=upgrades}": 1, "run_seconds_count{pool=upgrades}": 1}
			}
			scrape(t, s).want(t, want)
			if res, _ := site.Get(t, c, "https://"+s.Addr); res.StatusCode != status {
				t.Errorf("got %d beside the tunnel, want %d", res.StatusCode, status)
			}
			if words == "upgrades hold" {
				if res := upgrade("/ignores"); res.StatusCode != 503 {
					t.Errorf("got %d: an Upgrade field must not pass the queue by", res.StatusCode)
				}
			}
		})
	}
}

// gRPC and incremental messages go through untouched, both ways at once.
func TestNeverSpooled(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		flush := http.NewResponseController(w).Flush
		w.Header().Set("Content-Type", "application/grpc")
		flush()
		buf := make([]byte, 4)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				break
			}
			w.Write(buf)
			flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}), `
	offload {
		name duplex
	}
	reverse_proxy UPSTREAM`)
	for header, value := range map[string]string{"Content-Type": "application/grpc+proto", "Incremental": "?1"} {
		t.Run(header, func(t *testing.T) {
			body, writer := io.Pipe()
			req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr, body)
			req.Header.Set(header, value)
			res, err := s.Clients()["h2"].Do(req)
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
			if rest, err := readAll(res.Body); rest != "" || err != nil || res.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("got %q, %v, %v", rest, err, res.Trailer)
			}
		})
	}
}

// An upload is rejected before its body is requested.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	offload {
		name expects
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/hold")
	req, _ := http.NewRequest(http.MethodPost, "https://"+s.Addr, untouched{t})
	req.Header.Set("Expect", "100-continue")
	req.ContentLength = 1 << 20
	c := s.Clients()["h1"]
	c.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	if res, _ := site.Do(t, c, req); res.StatusCode != 503 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// An upload that is rejected while its client sends is not read to its end before the
// response: the client can stop at once.
func TestRefusedDuringTheBody(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(blocking), `
	offload {
		name uploads-refused
		concurrency 1
		queue 0
	}
	reverse_proxy UPSTREAM`)
	holdOne(t, s, s.Clients()["h2"], "/hold")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, writer := io.Pipe()
		defer writer.Close()
		go io.Copy(writer, io.LimitReader(rand.Reader, 1<<20)) // and then nothing
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
		req.ContentLength = 1 << 30
		if res, _ := site.Do(t, c, req); res.StatusCode != 503 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

// untouched is a body that must not be sent.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was asked for")
	return 0, io.EOF
}

// Offload sends the 100 Continue for an accepted body, once and on every version of HTTP,
// and the upstream gets no Expect field.
func TestContinueIsOurs(t *testing.T) {
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := readAll(r.Body)
		fmt.Fprintf(w, "%q %q", body, r.Header.Get("Expect"))
	}), `
	offload {
		name continues
	}
	reverse_proxy UPSTREAM`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, writer := io.Pipe()
		asked := 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
				if asked++; asked == 1 && status == http.StatusContinue {
					go func() {
						io.WriteString(writer, "body")
						writer.Close()
					}()
				}
				return nil
			},
		})
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		req.Header.Set("Expect", "100-continue")
		if _, body := site.Do(t, c, req); body != `"body" ""` || asked != 1 {
			t.Errorf("got %s after %d 1xx", body, asked)
		}
	})
}
