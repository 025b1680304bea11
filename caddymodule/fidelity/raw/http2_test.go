package raw

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// rawHeadBut is the header of a GET with another value for one field.
func rawHeadBut(name, value string, more ...string) []string {
	head := kit.Head("GET", more...)
	head[slices.Index(head, name)+1] = value
	return head
}

// onlyHead is a probe without a body.
func onlyHead(fields ...string) func(*kit.HTTP2Conn) {
	return func(c *kit.HTTP2Conn) { c.Headers(1, true, fields...) }
}

// withBody is a probe with a body.
func withBody(body string, fields ...string) func(*kit.HTTP2Conn) {
	return func(c *kit.HTTP2Conn) {
		c.Headers(1, false, fields...)
		c.Data(1, true, body)
	}
}

// withTrailer is a probe with a body and trailers.
func withTrailer(trailer ...string) func(*kit.HTTP2Conn) {
	return func(c *kit.HTTP2Conn) {
		c.Headers(1, false, kit.Head("POST", "trailer", "x-sum")...)
		c.Data(1, false, "body")
		c.Headers(1, true, trailer...)
	}
}

// http2Probes are mostly requests that change their meaning when they are written as
// HTTP/1.1 for the upstream.
var http2Probes = map[string]func(*kit.HTTP2Conn){
	"no body":                     onlyHead(kit.Head("GET")...),
	"a body of known length":      withBody("body", kit.Head("POST", "content-length", "4")...),
	"a body of unknown length":    withBody("body", kit.Head("POST")...),
	"an empty body":               withBody("", kit.Head("POST")...),
	"GET with a body":             withBody(kit.Smuggled, kit.Head("GET")...),
	"HEAD with a body":            withBody(kit.Smuggled, kit.Head("HEAD")...),
	"a body that says it is gRPC": withBody(kit.Smuggled, kit.Head("POST", "content-type", "application/grpc")...),
	"an incremental body":         withBody("body", kit.Head("POST", "incremental", "?1")...),
	"Expect":                      withBody("body", kit.Head("POST", "expect", "100-continue")...),

	"H2.CL of zero":             withBody(kit.Smuggled, kit.Head("POST", "content-length", "0")...),
	"H2.CL too small":           withBody("body"+kit.Smuggled, kit.Head("POST", "content-length", "4")...),
	"H2.CL too large":           withBody("body", kit.Head("POST", "content-length", "400")...),
	"H2.CL without a body":      onlyHead(kit.Head("POST", "content-length", "4")...),
	"H2.CL twice":               withBody("body", kit.Head("POST", "content-length", "4", "content-length", "4")...),
	"H2.CL twice, not the same": withBody("body", kit.Head("POST", "content-length", "4", "content-length", "0")...),
	"H2.CL of a list":           withBody("body", kit.Head("POST", "content-length", "4, 4")...),
	"H2.CL with a plus":         withBody("body", kit.Head("POST", "content-length", "+4")...),
	"H2.CL with a minus":        withBody("body", kit.Head("POST", "content-length", "-4")...),
	"H2.CL that is no number":   withBody("body", kit.Head("POST", "content-length", "four")...),
	"H2.CL with a line":         withBody("body", kit.Head("POST", "content-length", "4\r\nTransfer-Encoding: chunked")...),
	"H2.TE":                     withBody("0\r\n\r\n"+kit.Smuggled, kit.Head("POST", "transfer-encoding", "chunked")...),
	"H2.TE and CL":              withBody("0\r\n\r\n"+kit.Smuggled, kit.Head("POST", "transfer-encoding", "chunked", "content-length", "48")...),
	"H2.TE with an underscore":  withBody("0\r\n\r\n"+kit.Smuggled, kit.Head("POST", "transfer_encoding", "chunked")...),
	"connection: close":         onlyHead(kit.Head("GET", "connection", "close")...),
	"connection names a field":  onlyHead(kit.Head("GET", "connection", "x-secret", "x-secret", "1")...),
	"keep-alive":                onlyHead(kit.Head("GET", "keep-alive", "timeout=1")...),
	"proxy-connection":          onlyHead(kit.Head("GET", "proxy-connection", "close")...),
	"upgrade":                   onlyHead(kit.Head("GET", "upgrade", "websocket")...),
	"te: trailers":              onlyHead(kit.Head("GET", "te", "trailers")...),
	"te: gzip":                  onlyHead(kit.Head("GET", "te", "gzip")...),
	"http2-settings":            onlyHead(kit.Head("GET", "http2-settings", "AAMAAABk")...),

	"a value with CRLF":          onlyHead(kit.Head("GET", "x", "a\r\nX-Evil: 1")...),
	"a value with LF":            onlyHead(kit.Head("GET", "x", "a\nX-Evil: 1")...),
	"a value with CR":            onlyHead(kit.Head("GET", "x", "a\rX-Evil: 1")...),
	"a value with NUL":           onlyHead(kit.Head("GET", "x", "a\x00b")...),
	"a value with a request":     onlyHead(kit.Head("GET", "x", "a\r\n\r\n"+kit.Smuggled)...),
	"a value with spaces around": onlyHead(kit.Head("GET", "x", "  a  ")...),
	"a name with CRLF":           onlyHead(kit.Head("GET", "x: 1\r\nx-evil", "1")...),
	"a name with a colon":        onlyHead(kit.Head("GET", "x:y", "1")...),
	"a name with a space":        onlyHead(kit.Head("GET", "x y", "1")...),
	"a name in capitals":         onlyHead(kit.Head("GET", "X-Upper", "1")...),
	"a name that is empty":       onlyHead(kit.Head("GET", "", "1")...),
	"names that Caddy drops":     onlyHead(kit.Head("GET", "x_a", "1", "x.b", "2")...),
	"cookies in crumbs":          onlyHead(kit.Head("GET", "cookie", "a=1", "cookie", "b=2")...),
	"a forged address":           onlyHead(kit.Head("GET", "x-forwarded-for", "1.2.3.4", "forwarded", "for=1.2.3.4")...),

	"a path with a request":     onlyHead(rawHeadBut(":path", "/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"+kit.Smuggled)...),
	"a path with a space":       onlyHead(rawHeadBut(":path", "/first x")...),
	"a path with CRLF":          onlyHead(rawHeadBut(":path", "/first\r\nX-Evil: 1")...),
	"a path with a NUL":         onlyHead(rawHeadBut(":path", "/fi\x00rst")...),
	"a path with a fragment":    onlyHead(rawHeadBut(":path", "/first#x")...),
	"a path with a bad escape":  onlyHead(rawHeadBut(":path", "/%zz")...),
	"a path without a slash":    onlyHead(rawHeadBut(":path", "first")...),
	"an empty path":             onlyHead(rawHeadBut(":path", "")...),
	"a path of a whole URL":     onlyHead(rawHeadBut(":path", "http://evil/first")...),
	"a path of an asterisk":     onlyHead(rawHeadBut(":path", "*")...),
	"a path twice":              onlyHead(kit.Head("GET", ":path", "/second")...),
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
	"Host and an authority":     onlyHead(kit.Head("GET", "host", "evil")...),
	"Host twice":                onlyHead(":method", "GET", ":scheme", "http", ":path", "/first", "host", "127.0.0.1", "host", "evil"),
	"another scheme":            onlyHead(rawHeadBut(":scheme", "https")...),
	"a scheme with a URL":       onlyHead(rawHeadBut(":scheme", "http://evil/?")...),
	"no scheme":                 onlyHead(":method", "GET", ":authority", "127.0.0.1", ":path", "/first"),
	"a pseudo field behind":     onlyHead(":method", "GET", ":scheme", "http", ":path", "/first", "x", "y", ":authority", "127.0.0.1"),
	"a pseudo field of its own": onlyHead(rawHeadBut(":path", "/first", ":evil", "1")...),
	":status in a request":      onlyHead(rawHeadBut(":path", "/first", ":status", "200")...),

	"a trailer":                       withTrailer("x-sum", "1"),
	"an announced trailer missing":    withBody("body", kit.Head("POST", "trailer", "x-sum")...),
	"a trailer not announced":         withTrailer("x-other", "1"),
	"a length as a trailer":           withTrailer("content-length", "400"),
	"a coding as a trailer":           withTrailer("transfer-encoding", "chunked"),
	"a pseudo field as a trailer":     withTrailer(":path", "/evil"),
	"a host as a trailer":             withTrailer("host", "evil", "x-forwarded-for", "1.2.3.4"),
	"a trailer with CRLF":             withTrailer("x-sum", "1\r\n\r\n"+kit.Smuggled),
	"a length announced as a trailer": withBody("body", kit.Head("POST", "trailer", "content-length")...),
	"trailers that do not end": func(c *kit.HTTP2Conn) {
		c.Headers(1, false, kit.Head("POST")...)
		c.Headers(1, false, "x-sum", "1")
	},

	"many fields":       onlyHead(append(kit.Head("GET"), strings.Split(strings.Repeat("x-many,1,", 3000)+"x,1", ",")...)...),
	"a large field":     onlyHead(kit.Head("GET", "x-large", strings.Repeat("x", 512<<10))...),
	"a field too large": onlyHead(kit.Head("GET", "x-large", strings.Repeat("\\", 2<<20))...),

	"a stream of an even number": func(c *kit.HTTP2Conn) { c.Headers(2, true, kit.Head("GET")...) },
	"a body without a head":      func(c *kit.HTTP2Conn) { c.Data(1, true, "body") },
	"a body behind the end": func(c *kit.HTTP2Conn) {
		c.Headers(1, true, kit.Head("GET")...)
		c.Data(1, true, kit.Smuggled)
	},
	"a body in between frames of a head": func(c *kit.HTTP2Conn) {
		c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		c.Data(1, true, "body")
	},
	"a head that does not decode": func(c *kit.HTTP2Conn) {
		c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndStream: true, EndHeaders: true})
	},
	"a promise of a client": func(c *kit.HTTP2Conn) {
		c.Framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
	},
	"a window that overflows": func(c *kit.HTTP2Conn) {
		c.Headers(1, false, kit.Head("POST")...)
		c.Framer.WriteWindowUpdate(1, 1<<31-1)
	},
	"a body with padding": func(c *kit.HTTP2Conn) {
		c.Headers(1, false, kit.Head("POST")...)
		c.Framer.WriteDataPadded(1, true, []byte("body"), make([]byte, 200))
	},
	"a stream that depends on itself": func(c *kit.HTTP2Conn) {
		c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1}})
	},
	"HTTP/1.1 within": func(c *kit.HTTP2Conn) { c.Conn.Write([]byte(kit.Smuggled)) },
}

// rawPlayHTTP2 plays a probe and asks for something else behind it, which shows
// whether the connection is still of use.
func rawPlayHTTP2(t *testing.T, s *site.Site, probe func(*kit.HTTP2Conn), patience time.Duration) []string {
	c := kit.DialHTTP2(t, s.Clear)
	c.Patience = patience
	probe(c)
	answers := []string{c.Answer(1)}
	if strings.Contains(answers[0], "gone") || strings.Contains(answers[0], "closed") {
		return answers
	}
	c.Headers(3, true, rawHeadBut(":path", "/last")...)
	return append(answers, c.Answer(3))
}

// ownHTTP2 are the probes that get another answer on purpose: as on HTTP/1.1 offload reads
// bodies itself, and a request with a malformed body is the client's fault and reaches no
// upstream. Plain Caddy responds with 502.
var ownHTTP2 = map[string]string{
	"Expect":          "100 200 POST",
	"H2.CL too large": "400 ",
}

// rawOwnHTTP2 plays a probe that gets another answer on purpose. An extra request at the
// upstream may be the last of the previous probe, but not twice.
func rawOwnHTTP2(t *testing.T, r *rawUpstream, offloaded *site.Site, probe func(*kit.HTTP2Conn), want string) {
	t.Helper()
	most := 2
	if want == "400 " {
		most = 1
	}
	for try := 1; ; try++ {
		answers, requests := rawPlayHTTP2(t, offloaded, probe, kit.Patience), r.take()
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
