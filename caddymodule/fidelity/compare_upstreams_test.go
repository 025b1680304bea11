package fidelity_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"testing"
)

// Applications behind FastCGI.
func TestCompareFastCGI(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { _ = fcgi.Serve(ln, upstream{}) }() // until the listener is closed
	trials := []trial{
		{name: "GET", request: request{target: "/index.php/more?a=b"}},
		{name: "a path without a script", request: request{target: "/pretty/path?a=b"}},
		{name: "HEAD", request: request{method: "HEAD"}},
		{name: "POST", request: request{method: "POST", target: "/form.php", body: sized(5000), fields: []string{"Content-Type: application/x-www-form-urlencoded"}}},
		{name: "a large POST", request: request{method: "POST", body: sized(300 * kib)}},
		{name: "POST of unknown length", request: request{method: "POST", body: unsized(5000)}, needsLength: true},
		{name: "POST of nothing", request: request{method: "POST"}},
		{name: "404", answer: answer(404, "no")},
		{name: "a redirect", answer: answer(302, "", "Location: /there")},
		{name: "cookies", answer: answer(200, "hello", "Set-Cookie: a=1", "Set-Cookie: b=2")},
		{name: "a large answer", answer: text(300 * kib)},
		{name: "an answer in pieces", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			inPieces(w, 20000, 1000)
		}},
		{name: "204", answer: answer(204, "")},
		{name: "304", answer: answer(304, "", `Etag: "1"`)},
	}
	for i := range trials {
		trials[i].unmeasured = true
	}
	fastCGI := "php_fastcgi " + ln.Addr().String() + " {\nroot /srv\n}"
	for name, body := range map[string]string{
		"php_fastcgi": "OFFLOAD\n" + fastCGI,
		"in a route":  "route {\nOFFLOAD\n" + fastCGI + "\n}",
		"a transport": "OFFLOAD\nreverse_proxy " + ln.Addr().String() + " {\ntransport fastcgi {\nroot /srv\n}\n}",
	} {
		t.Run(name, func(t *testing.T) { compare(t, route{body: body}, trials...) })
	}
}

// Upstreams that speak HTTP/2, in the clear and over TLS.
func TestCompareUpstreamsOnHTTP2(t *testing.T) {
	serve := func(secure bool) string {
		server := httptest.NewUnstartedServer(upstream{})
		server.EnableHTTP2 = true
		if secure {
			server.StartTLS()
		} else {
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
		}
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	// On HTTP/3 a GET may have a body, and reverse_proxy has a data race when an
	// upstream resets the stream of such a request.
	bodiless := []string{"h1.0", "raw", "h1", "h2", "h2c"}
	trials := []trial{
		{name: "GET"},
		{name: "HEAD", request: request{method: "HEAD"}, answer: answer(200, "", "Content-Length: 100")},
		{name: "POST", request: request{method: "POST", body: sized(100 * kib)}},
		{name: "POST of unknown length", request: request{method: "POST", body: unsized(100 * kib)}},
		{name: "trailers", answer: announced(5000, "X-Sum: 1")},
		{name: "trailers that are not announced", answer: surprising(5000, "X-Sum: 1")},
		{name: "trailers of the request", request: request{method: "POST", body: unsized(5000), trailers: []string{"X-Sum: 1"}}},
		{name: "103", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "hello")
		}},
		{name: "an abort before the head", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, on: bodiless},
		{name: "an abort after a part", answer: func(w http.ResponseWriter, r *http.Request) {
			typed(w)
			_, _ = io.WriteString(w, "half")
			flush(w)
			playOf(r.Context()).clientHas(4)
			panic(http.ErrAbortHandler)
		}, on: bodiless},
		{name: "in steps", answer: inStep(3, "tick", "Content-Type: a/b")},
		{name: "large", answer: text(mib)},
		{name: "204", answer: answer(204, "")},
	}
	for name, body := range map[string]string{
		"in the clear": "OFFLOAD\nreverse_proxy h2c://" + serve(false),
		"over TLS":     "OFFLOAD\nreverse_proxy https://" + serve(true) + " {\ntransport http {\ntls_insecure_skip_verify\nversions 2\n}\n}",
	} {
		t.Run(name, func(t *testing.T) { compare(t, route{body: body}, trials...) })
	}
}

// Upstreams that fail, and others that are tried instead. The body goes to those
// whole.
func TestCompareRetries(t *testing.T) {
	post := func(b body) request { return request{method: "POST", body: b} }
	trials := []trial{
		{name: "GET"},
		{name: "HEAD", request: request{method: "HEAD"}},
		{name: "POST", request: post(sized(5000))},
		{name: "a large POST", request: post(sized(300 * kib))},
		{name: "POST of unknown length", request: post(unsized(5000))},
		{name: "POST with trailers", request: request{method: "POST", body: unsized(5000), trailers: []string{"X-Sum: 1"}}},
		{name: "PUT", request: request{method: "PUT", body: sized(5000)}},
	}
	const first = "OFFLOAD\nreverse_proxy 127.0.0.1:1 UPSTREAM {\nlb_policy first\nlb_try_duration 5s\nlb_try_interval 1ms\nfail_duration 10ms\n"
	t.Run("nobody there", func(t *testing.T) { compare(t, route{body: first + "}"}, trials...) })
	t.Run("nobody there, with buffers", func(t *testing.T) {
		compare(t, route{body: first + "request_buffers 1MB\n}"}, trials[:4]...)
	})

	// An upstream that takes the body and then says nothing.
	deaf := func(w http.ResponseWriter, r *http.Request) {
		if p := playOf(r.Context()); p.callsSoFar() < 2 {
			panic(http.ErrAbortHandler)
		}
		says("hello")(w, r)
	}
	for i := range trials {
		trials[i].answer, trials[i].normal = deaf, forgetUpstream
		trials[i].retried = trials[i].body.untold
	}
	anyhow := "OFFLOAD\nreverse_proxy UPSTREAM {\nlb_retries 2\nlb_try_interval 1ms\nlb_retry_match {\nmethod GET HEAD POST PUT\n}\n"
	t.Run("no answer", func(t *testing.T) { compare(t, route{body: anyhow + "}"}, trials...) })
	for i := range trials {
		trials[i].normal, trials[i].retried = nil, false
	}
	t.Run("no answer, with buffers", func(t *testing.T) {
		compare(t, route{body: anyhow + "request_buffers 1MB\n}"}, trials[2:4]...)
	})

	// What answers may be tried again too.
	flaky := func(w http.ResponseWriter, r *http.Request) {
		call := playOf(r.Context()).callsSoFar()
		if call < 3 {
			answer(503, "later", "X-Try: again")(w, r)
			return
		}
		answer(200, fmt.Sprint("call ", call))(w, r)
	}
	for i := range trials {
		trials[i].answer = flaky
	}
	again := "OFFLOAD\nreverse_proxy UPSTREAM {\nlb_retries 3\nlb_try_interval 1ms\nlb_retry_match {\nexpression `{rp.status_code} == 503`\n}\nrequest_buffers 1MB\n}"
	t.Run("another answer", func(t *testing.T) { compare(t, route{body: again}, trials[:5]...) })
	t.Run("another answer, without buffers", func(t *testing.T) {
		compare(t, route{body: strings.ReplaceAll(again, "request_buffers 1MB\n", "")}, trials[:2]...)
	})
	t.Run("never a good one", func(t *testing.T) {
		compare(t, route{body: strings.ReplaceAll(again, "lb_retries 3", "lb_retries 1")}, trials[:4]...)
	})
}
