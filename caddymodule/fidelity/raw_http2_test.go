package fidelity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// rawHead is the header of a request, with more fields behind.
func rawHead(method string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "127.0.0.1", ":path", "/first"}, more...)
}

// rawHeadBut is the header of a GET with another value for one field.
func rawHeadBut(name, value string, more ...string) []string {
	head := rawHead("GET", more...)
	head[slices.Index(head, name)+1] = value
	return head
}

// onlyHead is a probe without a body.
func onlyHead(fields ...string) func(*rawHTTP2) {
	return func(c *rawHTTP2) { c.headers(1, true, fields...) }
}

// withBody is a probe with a body.
func withBody(body string, fields ...string) func(*rawHTTP2) {
	return func(c *rawHTTP2) {
		c.headers(1, false, fields...)
		c.data(1, true, body)
	}
}

// withTrailer is a probe with a body and trailers.
func withTrailer(trailer ...string) func(*rawHTTP2) {
	return func(c *rawHTTP2) {
		c.headers(1, false, rawHead("POST", "trailer", "x-sum")...)
		c.data(1, false, "body")
		c.headers(1, true, trailer...)
	}
}

// http2Probes are mostly what turns into something else when it is written as
// HTTP/1.1 for the upstream.
var http2Probes = map[string]func(*rawHTTP2){
	"no body":                     onlyHead(rawHead("GET")...),
	"a body of known length":      withBody("body", rawHead("POST", "content-length", "4")...),
	"a body of unknown length":    withBody("body", rawHead("POST")...),
	"an empty body":               withBody("", rawHead("POST")...),
	"GET with a body":             withBody(rawSmuggled, rawHead("GET")...),
	"HEAD with a body":            withBody(rawSmuggled, rawHead("HEAD")...),
	"a body that says it is gRPC": withBody(rawSmuggled, rawHead("POST", "content-type", "application/grpc")...),
	"an incremental body":         withBody("body", rawHead("POST", "incremental", "?1")...),
	"Expect":                      withBody("body", rawHead("POST", "expect", "100-continue")...),

	"H2.CL of zero":             withBody(rawSmuggled, rawHead("POST", "content-length", "0")...),
	"H2.CL too small":           withBody("body"+rawSmuggled, rawHead("POST", "content-length", "4")...),
	"H2.CL too large":           withBody("body", rawHead("POST", "content-length", "400")...),
	"H2.CL without a body":      onlyHead(rawHead("POST", "content-length", "4")...),
	"H2.CL twice":               withBody("body", rawHead("POST", "content-length", "4", "content-length", "4")...),
	"H2.CL twice, not the same": withBody("body", rawHead("POST", "content-length", "4", "content-length", "0")...),
	"H2.CL of a list":           withBody("body", rawHead("POST", "content-length", "4, 4")...),
	"H2.CL with a plus":         withBody("body", rawHead("POST", "content-length", "+4")...),
	"H2.CL with a minus":        withBody("body", rawHead("POST", "content-length", "-4")...),
	"H2.CL that is no number":   withBody("body", rawHead("POST", "content-length", "four")...),
	"H2.CL with a line":         withBody("body", rawHead("POST", "content-length", "4\r\nTransfer-Encoding: chunked")...),
	"H2.TE":                     withBody("0\r\n\r\n"+rawSmuggled, rawHead("POST", "transfer-encoding", "chunked")...),
	"H2.TE and CL":              withBody("0\r\n\r\n"+rawSmuggled, rawHead("POST", "transfer-encoding", "chunked", "content-length", "48")...),
	"H2.TE with an underscore":  withBody("0\r\n\r\n"+rawSmuggled, rawHead("POST", "transfer_encoding", "chunked")...),
	"connection: close":         onlyHead(rawHead("GET", "connection", "close")...),
	"connection names a field":  onlyHead(rawHead("GET", "connection", "x-secret", "x-secret", "1")...),
	"keep-alive":                onlyHead(rawHead("GET", "keep-alive", "timeout=1")...),
	"proxy-connection":          onlyHead(rawHead("GET", "proxy-connection", "close")...),
	"upgrade":                   onlyHead(rawHead("GET", "upgrade", "websocket")...),
	"te: trailers":              onlyHead(rawHead("GET", "te", "trailers")...),
	"te: gzip":                  onlyHead(rawHead("GET", "te", "gzip")...),
	"http2-settings":            onlyHead(rawHead("GET", "http2-settings", "AAMAAABk")...),

	"a value with CRLF":          onlyHead(rawHead("GET", "x", "a\r\nX-Evil: 1")...),
	"a value with LF":            onlyHead(rawHead("GET", "x", "a\nX-Evil: 1")...),
	"a value with CR":            onlyHead(rawHead("GET", "x", "a\rX-Evil: 1")...),
	"a value with NUL":           onlyHead(rawHead("GET", "x", "a\x00b")...),
	"a value with a request":     onlyHead(rawHead("GET", "x", "a\r\n\r\n"+rawSmuggled)...),
	"a value with spaces around": onlyHead(rawHead("GET", "x", "  a  ")...),
	"a name with CRLF":           onlyHead(rawHead("GET", "x: 1\r\nx-evil", "1")...),
	"a name with a colon":        onlyHead(rawHead("GET", "x:y", "1")...),
	"a name with a space":        onlyHead(rawHead("GET", "x y", "1")...),
	"a name in capitals":         onlyHead(rawHead("GET", "X-Upper", "1")...),
	"a name that is empty":       onlyHead(rawHead("GET", "", "1")...),
	"names that Caddy drops":     onlyHead(rawHead("GET", "x_a", "1", "x.b", "2")...),
	"cookies in crumbs":          onlyHead(rawHead("GET", "cookie", "a=1", "cookie", "b=2")...),
	"a forged address":           onlyHead(rawHead("GET", "x-forwarded-for", "1.2.3.4", "forwarded", "for=1.2.3.4")...),

	"a path with a request":     onlyHead(rawHeadBut(":path", "/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"+rawSmuggled)...),
	"a path with a space":       onlyHead(rawHeadBut(":path", "/first x")...),
	"a path with CRLF":          onlyHead(rawHeadBut(":path", "/first\r\nX-Evil: 1")...),
	"a path with a NUL":         onlyHead(rawHeadBut(":path", "/fi\x00rst")...),
	"a path with a fragment":    onlyHead(rawHeadBut(":path", "/first#x")...),
	"a path with a bad escape":  onlyHead(rawHeadBut(":path", "/%zz")...),
	"a path without a slash":    onlyHead(rawHeadBut(":path", "first")...),
	"an empty path":             onlyHead(rawHeadBut(":path", "")...),
	"a path of a whole URL":     onlyHead(rawHeadBut(":path", "http://evil/first")...),
	"a path of an asterisk":     onlyHead(rawHeadBut(":path", "*")...),
	"a path twice":              onlyHead(rawHead("GET", ":path", "/second")...),
	"no path":                   onlyHead(":method", "GET", ":scheme", "http", ":authority", "127.0.0.1"),
	"a query with CRLF":         onlyHead(rawHeadBut(":path", "/first?a=b\r\nX-Evil: 1")...),
	"a query with a space":      onlyHead(rawHeadBut(":path", "/first?a b HTTP/1.1")...),
	"a method with a request":   onlyHead(rawHeadBut(":method", "GET /smuggled HTTP/1.1\r\nX: y")...),
	"a method with a space":     onlyHead(rawHeadBut(":method", "GET /smuggled")...),
	"an empty method":           onlyHead(rawHeadBut(":method", "")...),
	"a method of its own":       onlyHead(rawHeadBut(":method", "BREW")...),
	"CONNECT":                   onlyHead(":method", "CONNECT", ":authority", "127.0.0.1:80"),
	"CONNECT with a path":       onlyHead(rawHeadBut(":method", "CONNECT")...),
	"CONNECT of a protocol":     onlyHead(rawHeadBut(":method", "CONNECT", ":protocol", "websocket")...),
	"an authority with CRLF":    onlyHead(rawHeadBut(":authority", "127.0.0.1\r\nX-Evil: 1")...),
	"an authority with a space": onlyHead(rawHeadBut(":authority", "127.0.0.1 evil")...),
	"an authority with a path":  onlyHead(rawHeadBut(":authority", "127.0.0.1/evil")...),
	"an authority with a user":  onlyHead(rawHeadBut(":authority", "evil@127.0.0.1")...),
	"another authority":         onlyHead(rawHeadBut(":authority", "evil")...),
	"no authority":              onlyHead(":method", "GET", ":scheme", "http", ":path", "/first"),
	"Host for an authority":     onlyHead(":method", "GET", ":scheme", "http", ":path", "/first", "host", "127.0.0.1"),
	"Host and an authority":     onlyHead(rawHead("GET", "host", "evil")...),
	"Host twice":                onlyHead(":method", "GET", ":scheme", "http", ":path", "/first", "host", "127.0.0.1", "host", "evil"),
	"another scheme":            onlyHead(rawHeadBut(":scheme", "https")...),
	"a scheme with a URL":       onlyHead(rawHeadBut(":scheme", "http://evil/?")...),
	"no scheme":                 onlyHead(":method", "GET", ":authority", "127.0.0.1", ":path", "/first"),
	"a pseudo field behind":     onlyHead(":method", "GET", ":scheme", "http", ":path", "/first", "x", "y", ":authority", "127.0.0.1"),
	"a pseudo field of its own": onlyHead(rawHeadBut(":path", "/first", ":evil", "1")...),
	":status in a request":      onlyHead(rawHeadBut(":path", "/first", ":status", "200")...),

	"a trailer":                       withTrailer("x-sum", "1"),
	"an announced trailer missing":    withBody("body", rawHead("POST", "trailer", "x-sum")...),
	"a trailer not announced":         withTrailer("x-other", "1"),
	"a length as a trailer":           withTrailer("content-length", "400"),
	"a coding as a trailer":           withTrailer("transfer-encoding", "chunked"),
	"a pseudo field as a trailer":     withTrailer(":path", "/evil"),
	"a host as a trailer":             withTrailer("host", "evil", "x-forwarded-for", "1.2.3.4"),
	"a trailer with CRLF":             withTrailer("x-sum", "1\r\n\r\n"+rawSmuggled),
	"a length announced as a trailer": withBody("body", rawHead("POST", "trailer", "content-length")...),
	"trailers that do not end": func(c *rawHTTP2) {
		c.headers(1, false, rawHead("POST")...)
		c.headers(1, false, "x-sum", "1")
	},

	"many fields":       onlyHead(append(rawHead("GET"), strings.Split(strings.Repeat("x-many,1,", 3000)+"x,1", ",")...)...),
	"a large field":     onlyHead(rawHead("GET", "x-large", strings.Repeat("x", 512<<10))...),
	"a field too large": onlyHead(rawHead("GET", "x-large", strings.Repeat("\\", 2<<20))...),

	"a stream of an even number": func(c *rawHTTP2) { c.headers(2, true, rawHead("GET")...) },
	"a body without a head":      func(c *rawHTTP2) { c.data(1, true, "body") },
	"a body behind the end": func(c *rawHTTP2) {
		c.headers(1, true, rawHead("GET")...)
		c.data(1, true, rawSmuggled)
	},
	"a body in between frames of a head": func(c *rawHTTP2) {
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		c.data(1, true, "body")
	},
	"a head that does not decode": func(c *rawHTTP2) {
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndStream: true, EndHeaders: true})
	},
	"a promise of a client": func(c *rawHTTP2) {
		c.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
	},
	"a window that overflows": func(c *rawHTTP2) {
		c.headers(1, false, rawHead("POST")...)
		c.framer.WriteWindowUpdate(1, 1<<31-1)
	},
	"a body with padding": func(c *rawHTTP2) {
		c.headers(1, false, rawHead("POST")...)
		c.framer.WriteDataPadded(1, true, []byte("body"), make([]byte, 200))
	},
	"a stream that depends on itself": func(c *rawHTTP2) {
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1}})
	},
	"HTTP/1.1 within": func(c *rawHTTP2) { c.conn.Write([]byte(rawSmuggled)) },
}

// rawPlayHTTP2 plays a probe and asks for something else behind it, which shows
// whether the connection is still of use.
func rawPlayHTTP2(t *testing.T, s *site.Site, probe func(*rawHTTP2), patience time.Duration) []string {
	c := dialHTTP2(t, s.Clear)
	c.patience = patience
	probe(c)
	answers := []string{c.answer(1)}
	if strings.Contains(answers[0], "gone") || strings.Contains(answers[0], "closed") {
		return answers
	}
	c.headers(3, true, rawHeadBut(":path", "/last")...)
	return append(answers, c.answer(3))
}

// ownHTTP2 are the probes that get another answer on purpose: like on HTTP/1.1
// offload takes bodies in itself, and a request whose body makes no sense is the
// client's fault and reaches no upstream. Plain Caddy says 502 of it.
var ownHTTP2 = map[string]string{
	"Expect":          "100 200 POST",
	"H2.CL too large": "400 ",
}

// rawOwnHTTP2 plays a probe that gets another answer on purpose. What the upstream
// gets too much may be the last of the probe before, but not twice.
func rawOwnHTTP2(t *testing.T, r *rawUpstream, offloaded *site.Site, probe func(*rawHTTP2), want string) {
	t.Helper()
	most := 2
	if want == "400 " {
		most = 1
	}
	for try := 1; ; try++ {
		answers, requests := rawPlayHTTP2(t, offloaded, probe, rawMaxPatience), r.take()
		if answers[0] == want && len(requests) <= most {
			return
		}
		if try == 2 {
			t.Fatalf("the answers are %q, the upstream got %q", answers, requests)
		}
	}
}

func TestRawHTTP2(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for name, probe := range http2Probes {
		t.Run(name, func(t *testing.T) {
			if want := ownHTTP2[name]; want != "" {
				rawOwnHTTP2(t, r, offloaded, probe, want)
				return
			}
			rawCompare(t, r,
				func(d time.Duration) []string { return rawPlayHTTP2(t, plain, probe, d) },
				func(d time.Duration) []string { return rawPlayHTTP2(t, offloaded, probe, d) })
		})
	}
}

func TestRawHTTP2WithoutSpools(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "request_spool off\nresponse_spool off")
	for name, probe := range http2Probes {
		t.Run(name, func(t *testing.T) {
			rawCompare(t, r,
				func(d time.Duration) []string { return rawPlayHTTP2(t, plain, probe, d) },
				func(d time.Duration) []string { return rawPlayHTTP2(t, offloaded, probe, d) })
		})
	}
}
