package raw

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

const (
	rawPost = "POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	rawGet  = "GET /first HTTP/1.1\r\nHost: 127.0.0.1\r\n"

	// last is sent after each probe. It shows where the server thinks that the
	// probe has ended, and spares the wait for a connection that stays open.
	rawLast = "GET /last HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
)

// http1Probes are requests by which attackers make a proxy and its backend disagree on
// the end of a request, or on its meaning.
var http1Probes = map[string]string{
	"a body of known length": rawPost + "Content-Length: 4\r\n\r\nbody",
	"a chunked body":         rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"no body":                rawGet + "\r\n",

	"CL.TE":                            rawPost + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
	"CL.TE with a request":             rawPost + "Content-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kit.Smuggled,
	"TE.CL":                            rawPost + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\n" + kit.Smuggled + "\r\n0\r\n\r\n",
	"CL.0":                             rawPost + "Content-Length: 43\r\n\r\n" + kit.Smuggled,
	"GET with a body":                  rawGet + "Content-Length: 43\r\n\r\n" + kit.Smuggled,
	"GET with a chunked body":          rawGet + "Transfer-Encoding: chunked\r\n\r\n2b\r\n" + kit.Smuggled + "\r\n0\r\n\r\n",
	"0.CL on GET":                      rawGet + "Content-Length: 0\r\n\r\n" + kit.Smuggled,
	"CL.TE of an HTTP/1.0 request":     "POST /first HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
	"chunked HTTP/1.0":                 "POST /first HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"Upgrade with a body":              rawPost + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 43\r\n\r\n" + kit.Smuggled,
	"Upgrade to h2c":                   rawGet + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	"Expect of something else":         rawPost + "Expect: miracles\r\nContent-Length: 4\r\n\r\nbody",
	"Expect without a body":            rawGet + "Expect: 100-continue\r\n\r\n",
	"incremental":                      rawPost + "Incremental: ?1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"a body that says that it is gRPC": rawPost + "Content-Type: application/grpc\r\nContent-Length: 43\r\n\r\n" + kit.Smuggled,

	"TE in capitals":           rawPost + "TRANSFER-ENCODING: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: Chunked":              rawPost + "Transfer-Encoding: Chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: xchunked":             rawPost + "Transfer-Encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: identity":             rawPost + "Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody",
	"TE: gzip, chunked":        rawPost + "Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: chunked, identity":    rawPost + "Transfer-Encoding: chunked, identity\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: chunked, chunked":     rawPost + "Transfer-Encoding: chunked, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE twice":                 rawPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE twice, one unknown":    rawPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE of nothing":            rawPost + "Transfer-Encoding:\r\nContent-Length: 4\r\n\r\nbody",
	"TE in quotes":             rawPost + "Transfer-Encoding: \"chunked\"\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE after a tab":           rawPost + "Transfer-Encoding:\tchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE after a vertical tab":  rawPost + "Transfer-Encoding: \vchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE before a tab":          rawPost + "Transfer-Encoding: chunked\t\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with a NUL":            rawPost + "Transfer-Encoding: chunked\x00\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with a space before :": rawPost + "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE with a tab before :":   rawPost + "Transfer-Encoding\t: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE behind a space":        rawPost + " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE in a folded line":      rawPost + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE whose value is folded": rawPost + "Transfer-Encoding:\r\n chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE behind a bare CR":      rawPost + "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE behind a bare LF":      rawPost + "X: y\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with an underscore":    rawPost + "Transfer_Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE named by Connection":   rawPost + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",

	"CL twice, the same":        rawPost + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
	"CL twice, not the same":    rawPost + "Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody",
	"CL of a list":              rawPost + "Content-Length: 4, 4\r\n\r\nbody",
	"CL with a plus":            rawPost + "Content-Length: +4\r\n\r\nbody",
	"CL with a minus":           rawPost + "Content-Length: -4\r\n\r\nbody",
	"CL with a zero in front":   rawPost + "Content-Length: 04\r\n\r\nbody",
	"CL in hexadecimal":         rawPost + "Content-Length: 0x4\r\n\r\nbody",
	"CL with an underscore":     rawPost + "Content_Length: 4\r\n\r\n",
	"CL of nothing":             rawPost + "Content-Length:\r\n\r\n",
	"CL with spaces":            rawPost + "Content-Length:  4 \r\n\r\nbody",
	"CL with a space within":    rawPost + "Content-Length: 4 4\r\n\r\nbody",
	"CL with a space before :":  rawPost + "Content-Length : 4\r\n\r\nbody",
	"CL beyond int64":           rawPost + "Content-Length: 9223372036854775808\r\n\r\nbody",
	"CL larger than the body":   rawPost + "Content-Length: 400\r\n\r\nbody",
	"CL named by Connection":    rawPost + "Connection: Content-Length\r\nContent-Length: 43\r\n\r\n" + kit.Smuggled,
	"CL in digits of elsewhere": rawPost + "Content-Length: \uff14\r\n\r\nbody",

	"a chunk extension":              rawPost + "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\n\r\n",
	"a quoted chunk extension":       rawPost + "Transfer-Encoding: chunked\r\n\r\n4;a=\"b\r\nbody\r\n0\r\n\r\n",
	"a chunk size with spaces":       rawPost + "Transfer-Encoding: chunked\r\n\r\n4  \r\nbody\r\n0\r\n\r\n",
	"a chunk size of -1 as unsigned": rawPost + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nbody\r\n0\r\n\r\n",
	"a huge chunk size":              rawPost + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nbody\r\n0\r\n\r\n",
	"a chunk size with zeros":        rawPost + "Transfer-Encoding: chunked\r\n\r\n0000000000000004\r\nbody\r\n0\r\n\r\n",
	"a last chunk of 00":             rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n00\r\n\r\n",
	"a last chunk with an extension": rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0;x=y\r\n\r\n",

	"a trailer":                        rawPost + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
	"a trailer that was not announced": rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
	"an announced trailer is missing":  rawPost + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"a trailer of an empty body":       rawPost + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
	"a length as a trailer":            rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nContent-Length: 40\r\n\r\n",
	"a coding as a trailer":            rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
	"a host as a trailer":              rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nHost: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"a length announced as a trailer":  rawPost + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nContent-Length: 40\r\n\r\n",
	"a trailer with a bare LF":         rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: 1\nY: 2\r\n\r\n",
	"a trailer with a space before :":  rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX : 1\r\n\r\n",
	"trailer prefix as a header":       rawPost + "Trailer:X-Sum\r\nContent-Length: 4\r\n\r\nbody",

	"bare LF":                        "GET /first HTTP/1.1\nHost: 127.0.0.1\n\n",
	"bare CR in a value":             rawGet + "X: a\rb\r\n\r\n",
	"NUL in a value":                 rawGet + "X: a\x00b\r\n\r\n",
	"NUL in a name":                  rawGet + "X\x00Y: a\r\n\r\n",
	"DEL in a value":                 rawGet + "X: a\x7fb\r\n\r\n",
	"a tab in a value":               rawGet + "X: a\tb\r\n\r\n",
	"bytes that are not ASCII":       rawGet + "X: \xff\xfe\r\n\r\n",
	"a folded line":                  rawGet + "X: a\r\n b\r\n\r\n",
	"a folded first line":            "GET /first HTTP/1.1\r\n X: y\r\nHost: 127.0.0.1\r\n\r\n",
	"a space before a colon":         rawGet + "X : a\r\n\r\n",
	"a space in a name":              rawGet + "X Y: a\r\n\r\n",
	"a name that is empty":           rawGet + ": a\r\n\r\n",
	"a line without a colon":         rawGet + "X\r\n\r\n",
	"a name that is not ASCII":       rawGet + "X\xff: a\r\n\r\n",
	"names with dots and underscore": rawGet + "X_A: 1\r\nX.B: 2\r\nX-A: 3\r\n\r\n",
	"a name in odd case":             rawGet + "x-oDD: 1\r\nX-ODD: 2\r\n\r\n",
	"CRLF before the request":        "\r\n\r\n" + rawGet + "\r\n",

	"no Host":                         "GET /first HTTP/1.1\r\n\r\n",
	"Host twice":                      rawGet + "Host: 127.0.0.1\r\n\r\n",
	"another Host as well":            rawGet + "Host: evil\r\n\r\n",
	"a Host with a path":              "GET /first HTTP/1.1\r\nHost: 127.0.0.1/evil\r\n\r\n",
	"a Host with user and password":   "GET /first HTTP/1.1\r\nHost: evil@127.0.0.1\r\n\r\n",
	"a Host with a space":             "GET /first HTTP/1.1\r\nHost: 127.0.0.1 evil\r\n\r\n",
	"an empty Host":                   "GET /first HTTP/1.1\r\nHost:\r\n\r\n",
	"a Host with a port":              "GET /first HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
	"another Host":                    "GET /first HTTP/1.1\r\nHost: evil\r\n\r\n",
	"absolute form":                   "GET http://127.0.0.1/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"absolute form, another Host":     "GET http://127.0.0.1/first HTTP/1.1\r\nHost: evil\r\n\r\n",
	"absolute form of another":        "GET http://evil/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"absolute form without Host":      "GET http://127.0.0.1/first HTTP/1.1\r\n\r\n",
	"absolute form of another scheme": "GET ftp://127.0.0.1/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"absolute form with user":         "GET http://u:p@127.0.0.1/first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"authority form":                  "GET 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"asterisk form":                   "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"asterisk form of GET":            "GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"CONNECT":                         "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"CONNECT with a path":             "CONNECT /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"CONNECT with a body":             "CONNECT /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 43\r\n\r\n" + kit.Smuggled,
	"TRACE with a body":               "TRACE /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nbody",
	"a method of its own":             "BREW /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a method in small letters":       "post /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nbody",
	"a method that is none":           "G:T /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"an empty method":                 " /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",

	"HTTP/0.9":                       "GET /first\r\n",
	"HTTP/1.0":                       "GET /first HTTP/1.0\r\n\r\n",
	"HTTP/1.0 that stays":            "GET /first HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n",
	"HTTP/1.2":                       "GET /first HTTP/1.2\r\nHost: 127.0.0.1\r\n\r\n",
	"HTTP/2.0":                       "GET /first HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n",
	"http/1.1":                       "GET /first http/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"HTTP/1.10":                      "GET /first HTTP/1.10\r\nHost: 127.0.0.1\r\n\r\n",
	"two spaces in the request line": "GET  /first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a tab in the request line":      "GET\t/first\tHTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a space at its end":             "GET /first HTTP/1.1 \r\nHost: 127.0.0.1\r\n\r\n",
	"junk in the request line":       "GET /first HTTP/1.1 junk\r\nHost: 127.0.0.1\r\n\r\n",
	"junk alone":                     "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
	"a preface of HTTP/2, cut":       "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
	"a preface of HTTP/2 as GET":     "GET * HTTP/2.0\r\n\r\nSM\r\n\r\n",

	"a path with CRLF in percent":   "GET /first%0d%0aX:%20y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a query with CRLF in percent":  "GET /first?a=%0d%0aX:%20y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with NUL":               "GET /first%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with a raw NUL":         "GET /fi\x00rst HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with a bare CR":         "GET /first\rX: y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with bytes of no ASCII": "GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with dots":              "GET /a/../../b/%2e%2e/c HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with slashes":           "GET //a//b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with a bad escape":      "GET /%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path with a fragment":        "GET /first#x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a query with semicolons":       "GET /first?a=1;b=2&%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a path without a slash":        "GET first HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a placeholder":                 "GET /{env.HOME}?{http.request.host} HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {http.offload.pool}\r\n\r\n",

	"hop-by-hop fields":            rawGet + "Connection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers\r\nProxy-Authorization: x\r\n\r\n",
	"Connection names the address": rawGet + "Connection: X-Forwarded-For, X-Forwarded-Host, Host\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"Connection names Incremental": rawPost + "Connection: Incremental\r\nIncremental: ?1\r\nContent-Length: 4\r\n\r\nbody",
	"Connection names Expect":      rawPost + "Connection: Expect\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
	"a forged address":             rawGet + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 evil\r\n\r\n",
	"TE of more than trailers":     rawGet + "TE: gzip, trailers;q=0.5\r\n\r\n",

	"many fields":       rawGet + strings.Repeat("X-Many: 1\r\n", 5000) + "\r\n",
	"a large field":     rawGet + "X-Large: " + strings.Repeat("x", 512<<10) + "\r\n\r\n",
	"a field too large": rawGet + "X-Large: " + strings.Repeat("x", 1200<<10) + "\r\n\r\n",
	"a target too long": "GET /" + strings.Repeat("x", 1200<<10) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a long target":     "GET /" + strings.Repeat("x", 512<<10) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",

	"pipelined":                        rawGet + "\r\n" + rawPost + "Content-Length: 4\r\n\r\nbody" + rawGet + "\r\n",
	"pipelined behind chunks":          rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + kit.Smuggled,
	"pipelined behind close":           rawGet + "Connection: close\r\n\r\n" + kit.Smuggled,
	"pipelined behind a close of body": rawPost + "Connection: close\r\nContent-Length: 4\r\n\r\nbody" + kit.Smuggled,
	"pipelined behind one that is bad": rawGet + "X : y\r\n\r\n" + kit.Smuggled,
	"pipelined behind HTTP/1.0":        "GET /first HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" + kit.Smuggled,
	"pipelined behind HEAD":            "HEAD /first HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
}

// malformedBodies cannot be read to their end. Plain Caddy has sent half of the request by
// then, responds with 502 as for a fault of the upstream, and parses the following bytes
// as the next request.
var malformedBodies = map[string]string{
	"a chunk extension with a LF":   rawPost + "Transfer-Encoding: chunked\r\n\r\n4;\nbody\r\n0\r\n\r\n",
	"a chunk extension with a CR":   rawPost + "Transfer-Encoding: chunked\r\n\r\n4;\rx\r\nbody\r\n0\r\n\r\n",
	"a long chunk extension":        rawPost + "Transfer-Encoding: chunked\r\n\r\n4;" + strings.Repeat("x", 20<<10) + "\r\nbody\r\n0\r\n\r\n",
	"many chunk extensions":         rawPost + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\nb\r\n", 400) + "0\r\n\r\n",
	"a chunk size with a plus":      rawPost + "Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n",
	"a chunk size with a minus":     rawPost + "Transfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n",
	"a chunk size with 0x":          rawPost + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n",
	"a chunk size behind a space":   rawPost + "Transfer-Encoding: chunked\r\n\r\n 4\r\nbody\r\n0\r\n\r\n",
	"a chunk size of nothing":       rawPost + "Transfer-Encoding: chunked\r\n\r\n\r\nbody\r\n0\r\n\r\n",
	"a chunk size beyond int64":     rawPost + "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n",
	"a chunk larger than it says":   rawPost + "Transfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n0\r\n\r\n",
	"a chunk smaller than it says":  rawPost + "Transfer-Encoding: chunked\r\n\r\n8\r\nbody\r\n0\r\n\r\n",
	"chunks with bare LF":           rawPost + "Transfer-Encoding: chunked\r\n\r\n4\nbody\n0\n\n",
	"a chunk with another line end": rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbodyxx0\r\n\r\n",
	"no last chunk":                 rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
	"a request as a trailer":        rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n" + kit.Smuggled,
	"a trailer that is too large":   rawPost + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: " + strings.Repeat("x", 10<<10) + "\r\n\r\n",
}

// ownBodies are read by offload itself where it has a spool: it sends the 100 Continue, and
// rejects bodies above its bounds.
var ownBodies = map[string]string{
	"Expect with a body": rawPost + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
	"CL of 2^63-1":       rawPost + "Content-Length: 9223372036854775807\r\n\r\nbody",
}

// Requests that plain Caddy rejects are rejected, and those that it passes arrive at the
// upstream unchanged.
func TestRawHTTP1(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for name, probe := range http1Probes {
		t.Run(name, func(t *testing.T) { rawCompareBytes(t, r, plain, offloaded, probe) })
	}
}

func TestRawHTTP1WithoutSpools(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "request_spool off\nresponse_spool off")
	for _, probes := range []map[string]string{http1Probes, malformedBodies, ownBodies} {
		for name, probe := range probes {
			t.Run(name, func(t *testing.T) { rawCompareBytes(t, r, plain, offloaded, probe) })
		}
	}
}

// A request with a malformed body reaches no upstream, counts as the client's fault, and
// ends its connection: the start of the next request is unknown.
func TestRawMalformedBodies(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for name, probe := range malformedBodies {
		t.Run(name, func(t *testing.T) {
			if answers := rawPlay(t, plain.Clear, probe+rawLast, kit.Patience); !strings.HasPrefix(answers[0], "502 ") {
				t.Errorf("without offload the answers are %q", answers)
			}
			r.take()
			answers := rawPlay(t, offloaded.Clear, probe+rawLast, kit.Patience)
			if want := []string{`400 "" cut=false close=true`, "closed"}; !slices.Equal(answers, want) {
				t.Errorf("the answers are %q", answers)
			}
			if requests := r.take(); len(requests) > 0 {
				t.Errorf("the upstream got %q", requests)
			}
		})
	}
}

// Requests that wait behind one whose body is not wanted are not found in it.
func TestRawBehindRefusals(t *testing.T) {
	hold := make(chan struct{})
	entered := make(chan struct{})
	name := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		close(entered)
		<-hold
		return nil
	})
	s := site.Serve(t, nil, "offload {\nname refuses\nconcurrency 1\nqueue 0\n}\n"+name)
	held := make(chan struct{})
	go func() {
		defer close(held)
		rawPlay(t, s.Clear, rawLast, time.Minute)
	}()
	<-entered
	defer func() { close(hold); <-held }()
	large := strings.Repeat(kit.Smuggled, 4000)
	const refused = `503 "Service Unavailable\n" cut=false close=true`
	for name, tt := range map[string]struct {
		text    string
		answers []string
	}{
		"a small body":     {fmt.Sprintf(rawPost+"Content-Length: %d\r\n\r\n", len(kit.Smuggled)) + kit.Smuggled, []string{strings.Replace(refused, "close=true", "close=false", 1), refused, "closed"}},
		"a large body":     {fmt.Sprintf(rawPost+"Content-Length: %d\r\n\r\n", len(large)) + large, []string{refused, "closed"}},
		"a chunked body":   {fmt.Sprintf(rawPost+"Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(kit.Smuggled)) + kit.Smuggled + "\r\n0\r\n\r\n", []string{refused, "closed"}},
		"an expected body": {fmt.Sprintf(rawPost+"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(kit.Smuggled)) + kit.Smuggled, []string{refused, "closed"}},
		"a body that lies": {rawPost + "Content-Length: 70000\r\n\r\n" + kit.Smuggled, []string{refused, "closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := rawPlay(t, s.Clear, tt.text+rawLast, kit.Patience)
			if !slices.Equal(answers, tt.answers) {
				t.Errorf("the answers are %q, want %q", answers, tt.answers)
			}
		})
	}
}
