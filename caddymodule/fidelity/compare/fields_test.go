package compare

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The fields of answers.
func TestCompareFields(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\nContent-Length: 5\n"
	compare(t, proxied,
		trial{name: "cookies in their order", answer: answer(200, "", "Set-Cookie: b=2; Path=/", "Set-Cookie: a=1", "Set-Cookie: c=3; HttpOnly", "Set-Cookie: a=4")},
		trial{name: "repeated fields", answer: answer(200, "", "X-Two: 2", "X-Two: 1", "Vary: a", "Vary: b, c", "Cache-Control: no-store")},
		trial{name: "an empty field", answer: answer(200, "", "X-Empty: ")},
		trial{name: "500 fields", answer: answer(200, "", numbered("X-Field-%d: %d", 500)...)},
		trial{name: "a field of 200 KB", answer: answer(200, "", "X-Large: "+strings.Repeat("0123456789", 20000))},
		trial{name: "a field of 200 KB and a body", answer: answer(200, string(pattern(50*kib)), "X-Large: "+strings.Repeat("0123456789", 20000)), on: http1},
		trial{name: "values beyond ASCII", answer: raw(ok + "X-Utf: \u00fc\u20ac\nX-Latin: \xfc\n\nhello")},
		trial{name: "values with tabs and quotes", answer: raw(ok + "X-Odd: a\tb \"c\\\"\" ;=,\nX-Spaces:    a  b   \n\nhello")},
		trial{name: "names with digits and dashes", answer: raw(ok + "x-1-a: 1\nX_Under: 2\n!#$%&'*+.^`|~: 3\n\nhello")},
		trial{name: "no Content-Type", answer: raw(ok + "\nhello")},
		trial{name: "no Content-Type of HTML", answer: raw("HTTP/1.1 200 OK\nContent-Length: 14\n\n<!doctype html")},
		trial{name: "no Content-Type of 5000 bytes", answer: raw("HTTP/1.1 200 OK\nContent-Length: 5000\n\n" + string(pattern(5000)))},
		trial{name: "no Content-Type of 100000 bytes", answer: raw("HTTP/1.1 200 OK\nContent-Length: 100000\n\n" + string(pattern(100000)))},
		trial{name: "no Content-Type, encoded", answer: raw(ok + "Content-Encoding: x\n\nhello")},
		trial{name: "an empty Content-Type", answer: raw(ok + "Content-Type:\n\nhello")},
		trial{name: "two Content-Types", answer: raw(ok + "Content-Type: a/b\nContent-Type: c/d\n\nhello")},
		trial{name: "a date of its own", answer: raw(ok + "Date: Sun, 09 Sep 2001 01:46:40 GMT\n\nhello")},
		trial{name: "no date", answer: raw(ok + "\nhello")},
		trial{name: "a server of its own", answer: raw(ok + "Server: upstream/1.0\nX-Powered-By: tests\n\nhello")},
		trial{name: "a Via of another proxy", answer: raw(ok + "Via: 1.0 other\n\nhello")},
		trial{name: "an Alt-Svc of its own", answer: raw(ok + "Alt-Svc: clear\n\nhello")},
		trial{name: "hop-by-hop fields", answer: raw(ok + "Connection: X-Foo, X-Bar\nX-Foo: 1\nX-Bar: 2\nX-Baz: 3\nKeep-Alive: timeout=5\nProxy-Authenticate: Basic\nProxy-Connection: close\nTe: x\n\nhello")},
		trial{name: "a connection to be closed", answer: raw(ok + "Connection: close\n\nhello")},
		trial{name: "an upgrade to be had", answer: raw(ok + "Connection: Upgrade\nUpgrade: h2c\n\nhello")},
		trial{name: "fields that proxies act on", answer: answer(200, "hello", "X-Accel-Buffering: no", "X-Accel-Redirect: /x", "X-Sendfile: /x", "Retry-After: 1")},
		trial{name: "a length of its own for nothing", answer: raw("HTTP/1.1 200 OK\nContent-Length: 0\n\n")},
		trial{name: "Proxy-Status", answer: answer(502, "", "Proxy-Status: other; error=dns_error")},
		trial{name: "what browsers want", answer: answer(200, "hello", "Strict-Transport-Security: max-age=1", "Content-Security-Policy: default-src 'self'",
			"Access-Control-Allow-Origin: *", `Etag: W/"1"`, "Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT", "Link: </a>; rel=preload")},
	)
}

// The server answers the same to large heads, and to those above its limit.
func TestCompareLargeHeads(t *testing.T) {
	large := proxy("UPSTREAM", "transport http {", "max_response_header 100KB", "}")
	large.global = "servers {\nprotocols h1 h2 h2c h3\nmax_header_size 1MB\n}"
	compare(t, large,
		trial{name: "of a request", request: request{fields: []string{"X-Large: " + strings.Repeat("0123456789", 20000)}}, on: http1},
		trial{name: "of an answer", answer: answer(200, "hello", "X-Large: "+strings.Repeat("0123456789", 5000))},
		trial{name: "of an answer, too large", answer: answer(200, "hello", "X-Large: "+strings.Repeat("0123456789", 20000))},
		trial{name: "of 1xx", answer: raw("HTTP/1.1 103 Early Hints\nLink: " + strings.Repeat("0123456789", 1000) + "\n\n" + hello)},
		trial{name: "of trailers", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Large")
			typed(w)
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("X-Large", strings.Repeat("0123456789", 500))
		}},
		trial{name: "of many cookies", answer: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 200 {
				w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=%s", i, strings.Repeat("x", 100)))
			}
		}},
	)
}
