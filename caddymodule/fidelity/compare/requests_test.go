package compare

import (
	"strings"
	"testing"
)

// Requests reach the upstream as they would without offload.
func TestCompareRequests(t *testing.T) {
	with := func(fields ...string) request { return request{fields: fields} }
	compare(t, proxied,
		trial{name: "GET"},
		trial{name: "HEAD", request: request{method: "HEAD"}},
		trial{name: "OPTIONS", request: request{method: "OPTIONS"}},
		trial{name: "OPTIONS with a body", request: request{method: "OPTIONS", body: sized(10)}},
		trial{name: "OPTIONS of the server", request: request{raw: "OPTIONS * HTTP/1.1\nHost: SITE\nX-Play: PLAY\n\n"}, unlogged: true},
		trial{name: "TRACE", request: request{method: "TRACE"}},
		trial{name: "POST", request: request{method: "POST", body: sized(100)}},
		trial{name: "POST of unknown length", request: request{method: "POST", body: unsized(100)}},
		trial{name: "POST of nothing", request: request{method: "POST"}},
		trial{name: "POST of nothing, length unknown", request: request{method: "POST", body: unsized(0)}},
		trial{name: "PUT", request: request{method: "PUT", body: sized(100)}},
		trial{name: "PATCH", request: request{method: "PATCH", body: unsized(100)}},
		trial{name: "DELETE", request: request{method: "DELETE"}},
		trial{name: "DELETE with a body", request: request{method: "DELETE", body: sized(100)}},
		trial{name: "GET with a body", request: request{body: sized(100)}},
		trial{name: "GET with a body of unknown length", request: request{body: unsized(100)}},
		trial{name: "a method of its own", request: request{method: "M-SEARCH"}},
		trial{name: "a method of its own with a body", request: request{method: "brew", body: sized(100)}},

		trial{name: "a query", request: request{target: "/path?a=1&b=2&a=3"}},
		trial{name: "an odd query", request: request{target: "/path?a=b;c&%zz=%20+&&="}},
		trial{name: "an empty query", request: request{target: "/path?"}},
		trial{name: "escapes in the path", request: request{target: "/a%2Fb/%E2%82%AC/%7euser"}},
		trial{name: "slashes and dots in the path", request: request{target: "//a/./b/../c//"}},

		trial{name: "repeated fields", request: with("X-Two: 1", "Accept: a/b", "X-Two: 2", "Accept: c/d")},
		trial{name: "cookies", request: with("Cookie: a=1; b=2")},
		trial{name: "an empty field", request: with("X-Empty: ")},
		trial{name: "fields with strange values", request: with("X-Strange: \x80\xff \"',;=", "X-Long: "+strings.Repeat("x", 5000))},
		trial{name: "many fields", request: with(numbered("X-Field-%d: %d", 300)...)},
		trial{name: "a header of 10 KB", request: with("X-Large: " + strings.Repeat("0123456789", 1000))},
		trial{name: "a header of 200 KB", request: with("X-Large: " + strings.Repeat("0123456789", 20000)), unlogged: true},
		trial{name: "hop-by-hop fields", request: with("Connection: X-Foo, keep-alive", "X-Foo: 1", "Keep-Alive: timeout=5",
			"Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "X-Bar: 2"), on: http1},
		trial{name: "TE with trailers", request: with("Te: trailers")},
		trial{name: "TE with anything", request: with("Te: deflate, trailers;q=0.5", "Connection: Te"), on: http1},
		trial{name: "fields of another proxy", request: with("Via: 1.1 other", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: other",
			"X-Forwarded-Proto: gopher", "Forwarded: for=192.0.2.1", "X-Real-Ip: 192.0.2.1")},
		trial{name: "Authorization", request: with("Authorization: Bearer token")},
		trial{name: "Upgrade that the upstream ignores", request: with("Connection: Upgrade", "Upgrade: h2c"), on: http1},
		trial{name: "Upgrade-Insecure-Requests", request: with("Upgrade-Insecure-Requests: 1")},
		trial{name: "Connection: close", request: with("Connection: close"), on: http1},
		trial{name: "Max-Forwards", request: with("Max-Forwards: 1", "Priority: u=1, i", "Early-Data: 1")},
	)
}

// Requests that only unusual clients send.
func TestCompareRawRequests(t *testing.T) {
	send := func(text string) request { return request{raw: text} }
	const ours = "Host: SITE\nX-Play: PLAY\n"
	compare(t, proxied,
		trial{name: "HTTP/1.0 with keep-alive", request: send("GET / HTTP/1.0\nConnection: keep-alive\n" + ours + "\n")},
		trial{name: "an absolute target", request: send("GET http://SITE/path HTTP/1.1\n" + ours + "\n")},
		trial{name: "names in small letters", request: send("GET / HTTP/1.1\nhost: SITE\nx-play: PLAY\nx-small: 1\n\n")},
		trial{name: "an empty line first", request: send("\nGET / HTTP/1.1\n" + ours + "\n"), unlogged: true},
		trial{name: "a method in small letters", request: send("get / HTTP/1.1\n" + ours + "\n")},
		trial{name: "two requests at once", request: request{
			answers: 2,
			raw:     "GET /1 HTTP/1.1\n" + ours + "\nGET /2 HTTP/1.1\n" + ours + "\n",
		}, unlogged: true},
		trial{name: "two uploads at once", request: request{
			answers: 2,
			raw: "POST /1 HTTP/1.1\nContent-Length: 5\n" + ours + "\nfirst" +
				"POST /2 HTTP/1.1\nTransfer-Encoding: chunked\n" + ours + "\n6\nsecond\n0\n\n",
		}, unlogged: true, normal: forgetLength},
		trial{name: "chunks with extensions", request: send("POST / HTTP/1.1\nTransfer-Encoding: chunked\n" + ours +
			"\n5;a=b\nfirst\n6;c=\"d\"\nsecond\n0\n\n"), normal: forgetLength},
		trial{name: "a bad chunk", request: send("POST / HTTP/1.1\nTransfer-Encoding: chunked\n" + ours + "\n5\nfirst\nzz\n\n0\n\n"), traits: brokenUpload, normal: forgetUpstream},
		trial{name: "Content-Length and chunks", request: send("POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n" +
			ours + "\n5\nfirst\n0\n\n"), normal: forgetLength},
		trial{name: "two Content-Lengths", request: send("POST / HTTP/1.1\nContent-Length: 3\nContent-Length: 5\n" + ours + "\nfirst"), unlogged: true},
		trial{name: "the same Content-Length twice", request: send("POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 5\n" + ours + "\nfirst")},
		trial{name: "an unknown expectation", request: send("POST / HTTP/1.1\nExpect: miracles\nContent-Length: 5\n" + ours + "\nfirst"), unlogged: true},
		trial{name: "no Host", request: send("GET / HTTP/1.1\nX-Play: PLAY\n\n"), unlogged: true},
		trial{name: "another Host", request: send("GET / HTTP/1.1\nHost: other.example\nX-Play: PLAY\n\n"), unlogged: true},
		trial{name: "a header that goes on on the next line", request: send("GET / HTTP/1.1\n" + ours + "X-Folded: a\n b\n\n"), unlogged: true},
		trial{name: "a version that does not exist", request: send("GET / HTTP/3.7\n" + ours + "\n"), unlogged: true},
		trial{name: "no HTTP", request: send("\x16\x03\x01" + strings.Repeat("\x02", 30) + "\n\n"), unlogged: true},
	)
}

// numbered returns n fields.
func numbered(format string, n int) []string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = strings.ReplaceAll(format, "%d", string(rune('a'+i%26))+strings.Repeat("x", i/26))
	}
	return fields
}
