package compare

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const hello = "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"

// 1xx come in their order, each with its own fields, and nothing of them stays.
func TestCompareInformational(t *testing.T) {
	hint := func(link string) string { return "HTTP/1.1 103 Early Hints\nLink: <" + link + ">; rel=preload\n\n" }
	patient := []string{"h1.0", "raw", "h1", "h2", "h2c"} // the client of HTTP/3 takes only five of them
	trials := []trial{
		{name: "103", answer: raw(hint("/a.css") + hello)},
		{name: "103 with several fields", answer: raw("HTTP/1.1 103 Early Hints\nLink: </a>\nLink: </b>\nX-Other: 1\n\n" + hello)},
		{name: "103 three times", answer: raw(hint("/a.css") + hint("/b.css") + hint("/c.css") + hello)},
		{name: "103 with hop-by-hop fields", answer: raw("HTTP/1.1 103 Early Hints\nConnection: X-Foo\nX-Foo: 1\nKeep-Alive: 5\nLink: </a>\n\n" + hello)},
		{name: "103 with a field of the answer", answer: raw("HTTP/1.1 103 Early Hints\nX-Same: early\n\nHTTP/1.1 200 OK\nX-Same: late\nContent-Length: 5\n\nhello")},
		{name: "103 without fields", answer: raw("HTTP/1.1 103 Early Hints\n\n" + hello)},
		{name: "102", answer: raw("HTTP/1.1 102 Processing\n\n" + hello)},
		{name: "102, 103 and 110", answer: raw("HTTP/1.1 102 Processing\n\n" + hint("/a") + "HTTP/1.1 110 Odd\nX-Odd: 1\n\n" + hello)},
		{name: "199", answer: raw("HTTP/1.1 199 Last\nX-Last: 1\n\n" + hello)},
		{name: "100 that nobody asked for", answer: raw("HTTP/1.1 100 Continue\n\n" + hello)},
		{name: "100 for an upload", request: request{method: "POST", body: sized(5000)}, answer: raw("HTTP/1.1 100 Continue\n\n" + hello)},
		{name: "103 and an empty answer", answer: raw(hint("/a") + "HTTP/1.1 204 No Content\n\n")},
		{name: "103 for HEAD", request: request{method: "HEAD"}, answer: raw(hint("/a") + "HTTP/1.1 200 OK\nContent-Length: 5\n\n")},
		{name: "103 and 500", answer: raw(hint("/a") + "HTTP/1.1 500 Oh\nContent-Length: 5\n\nhello")},
		{name: "103 while the upload goes on", request: request{method: "POST", body: sized(300 * kib)}, unread: true, answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "hello")
		}},
		{name: "32 of them", answer: raw(strings.Repeat("HTTP/1.1 103 Early Hints\nLink: </a>\n\n", 32) + hello), on: patient},
		{name: "too many of them", answer: raw(strings.Repeat("HTTP/1.1 103 Early Hints\nLink: </a>\n\n", 50) + hello), on: patient, traits: flood},
		{name: "103 from net/http", answer: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3 {
				w.Header().Set("Link", fmt.Sprintf("</%d.css>", i))
				w.WriteHeader(http.StatusEarlyHints)
			}
			_, _ = io.WriteString(w, "hello")
		}},
		{name: "103 long before the answer", answer: onConn(func(conn *net.TCPConn, p *play) {
			_, _ = io.WriteString(conn, strings.ReplaceAll(hint("/a"), "\n", "\r\n"))
			p.await("the client to get the hint", func() bool { return p.informed > 0 })
			_, _ = io.WriteString(conn, strings.ReplaceAll(hello, "\n", "\r\n"))
		}), on: not10},
	}
	compare(t, proxied, trials...)
}

// A client that expects 100 Continue before it sends its body must get one: in plain Caddy
// both the server and the upstream may send it.
func TestCompareExpectations(t *testing.T) {
	expecting := func(b body) request {
		return request{method: "POST", fields: []string{"Expect: 100-continue"}, body: b}
	}
	trials := []trial{
		{name: "a small body", request: expecting(sized(10))},
		{name: "a large body", request: expecting(sized(300 * kib))},
		{name: "a body of unknown length", request: expecting(unsized(100))},
		{name: "without a body", request: request{fields: []string{"Expect: 100-continue"}}},
	}
	for i := range trials {
		trials[i].traits, trials[i].normal = expects, once100
	}
	compare(t, proxied, trials...)
}

// once100 keeps one 100 of several.
func once100(x *exchange) {
	had := false
	x.informed = slices.DeleteFunc(x.informed, func(m message) bool {
		again := had
		had = true
		return again
	})
	for i := range x.informed {
		x.informed[i].fields = nil
	}
}
