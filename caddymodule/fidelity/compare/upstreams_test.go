package compare

import (
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
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
		{name: "POST of unknown length", request: request{method: "POST", body: unsized(5000)}, traits: needsLength},
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
		trials[i].traits |= unmeasured
	}
	fastCGI := "php_fastcgi " + ln.Addr().String() + " {\nroot /srv\n}"
	compareRoutes(t, routeTrials{
		"php_fastcgi": {"OFFLOAD\n" + fastCGI, trials},
		"in a route":  {"route {\nOFFLOAD\n" + fastCGI + "\n}", trials},
		"a transport": {proxy(ln.Addr().String(), "transport fastcgi {", "root /srv", "}").body, trials},
	})
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
	compareRoutes(t, routeTrials{
		"in the clear": {proxy("h2c://" + serve(false)).body, trials},
		"over TLS":     {proxy("https://"+serve(true), "transport http {", "tls_insecure_skip_verify", "versions 2", "}").body, trials},
	})
}
