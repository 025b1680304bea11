package fidelity_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

const (
	post = "POST /first HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	get  = "GET /first HTTP/1.1\r\nHost: 127.0.0.1\r\n"

	// smuggled is what must never come out as a request of its own where the
	// server takes it for a body.
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

	// last is sent after each probe. It shows where the server thinks that the
	// probe has ended, and spares the wait for a connection that stays open.
	last = "GET /last HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
)

// http1Probes are what attackers send who want a proxy and what is behind it to
// disagree on where a request ends, or on what it says.
var http1Probes = map[string]string{
	"a body of known length": post + "Content-Length: 4\r\n\r\nbody",
	"a chunked body":         post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"no body":                get + "\r\n",

	"CL.TE":                            post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
	"CL.TE with a request":             post + "Content-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
	"TE.CL":                            post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\n" + smuggled + "\r\n0\r\n\r\n",
	"CL.0":                             post + "Content-Length: 43\r\n\r\n" + smuggled,
	"GET with a body":                  get + "Content-Length: 43\r\n\r\n" + smuggled,
	"GET with a chunked body":          get + "Transfer-Encoding: chunked\r\n\r\n2b\r\n" + smuggled + "\r\n0\r\n\r\n",
	"0.CL on GET":                      get + "Content-Length: 0\r\n\r\n" + smuggled,
	"CL.TE of an HTTP/1.0 request":     "POST /first HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
	"chunked HTTP/1.0":                 "POST /first HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"Upgrade with a body":              post + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 43\r\n\r\n" + smuggled,
	"Upgrade to h2c":                   get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	"Expect of something else":         post + "Expect: miracles\r\nContent-Length: 4\r\n\r\nbody",
	"Expect without a body":            get + "Expect: 100-continue\r\n\r\n",
	"incremental":                      post + "Incremental: ?1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"a body that says that it is gRPC": post + "Content-Type: application/grpc\r\nContent-Length: 43\r\n\r\n" + smuggled,

	"TE in capitals":           post + "TRANSFER-ENCODING: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: Chunked":              post + "Transfer-Encoding: Chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: xchunked":             post + "Transfer-Encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: identity":             post + "Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody",
	"TE: gzip, chunked":        post + "Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: chunked, identity":    post + "Transfer-Encoding: chunked, identity\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE: chunked, chunked":     post + "Transfer-Encoding: chunked, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE twice":                 post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE twice, one unknown":    post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE of nothing":            post + "Transfer-Encoding:\r\nContent-Length: 4\r\n\r\nbody",
	"TE in quotes":             post + "Transfer-Encoding: \"chunked\"\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE after a tab":           post + "Transfer-Encoding:\tchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE after a vertical tab":  post + "Transfer-Encoding: \vchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE before a tab":          post + "Transfer-Encoding: chunked\t\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with a NUL":            post + "Transfer-Encoding: chunked\x00\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with a space before :": post + "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE with a tab before :":   post + "Transfer-Encoding\t: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE behind a space":        post + " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE in a folded line":      post + "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE whose value is folded": post + "Transfer-Encoding:\r\n chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE behind a bare CR":      post + "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE behind a bare LF":      post + "X: y\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"TE with an underscore":    post + "Transfer_Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
	"TE named by Connection":   post + "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",

	"CL twice, the same":        post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
	"CL twice, not the same":    post + "Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody",
	"CL of a list":              post + "Content-Length: 4, 4\r\n\r\nbody",
	"CL with a plus":            post + "Content-Length: +4\r\n\r\nbody",
	"CL with a minus":           post + "Content-Length: -4\r\n\r\nbody",
	"CL with a zero in front":   post + "Content-Length: 04\r\n\r\nbody",
	"CL in hexadecimal":         post + "Content-Length: 0x4\r\n\r\nbody",
	"CL with an underscore":     post + "Content_Length: 4\r\n\r\n",
	"CL of nothing":             post + "Content-Length:\r\n\r\n",
	"CL with spaces":            post + "Content-Length:  4 \r\n\r\nbody",
	"CL with a space within":    post + "Content-Length: 4 4\r\n\r\nbody",
	"CL with a space before :":  post + "Content-Length : 4\r\n\r\nbody",
	"CL beyond int64":           post + "Content-Length: 9223372036854775808\r\n\r\nbody",
	"CL larger than the body":   post + "Content-Length: 400\r\n\r\nbody",
	"CL named by Connection":    post + "Connection: Content-Length\r\nContent-Length: 43\r\n\r\n" + smuggled,
	"CL in digits of elsewhere": post + "Content-Length: \uff14\r\n\r\nbody",

	"a chunk extension":              post + "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\n\r\n",
	"a quoted chunk extension":       post + "Transfer-Encoding: chunked\r\n\r\n4;a=\"b\r\nbody\r\n0\r\n\r\n",
	"a chunk size with spaces":       post + "Transfer-Encoding: chunked\r\n\r\n4  \r\nbody\r\n0\r\n\r\n",
	"a chunk size of -1 as unsigned": post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nbody\r\n0\r\n\r\n",
	"a huge chunk size":              post + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nbody\r\n0\r\n\r\n",
	"a chunk size with zeros":        post + "Transfer-Encoding: chunked\r\n\r\n0000000000000004\r\nbody\r\n0\r\n\r\n",
	"a last chunk of 00":             post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n00\r\n\r\n",
	"a last chunk with an extension": post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0;x=y\r\n\r\n",

	"a trailer":                        post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
	"a trailer that was not announced": post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n",
	"an announced trailer is missing":  post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	"a trailer of an empty body":       post + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
	"a length as a trailer":            post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nContent-Length: 40\r\n\r\n",
	"a coding as a trailer":            post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
	"a host as a trailer":              post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nHost: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"a length announced as a trailer":  post + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nContent-Length: 40\r\n\r\n",
	"a trailer with a bare LF":         post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: 1\nY: 2\r\n\r\n",
	"a trailer with a space before :":  post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX : 1\r\n\r\n",
	"trailer prefix as a header":       post + "Trailer:X-Sum\r\nContent-Length: 4\r\n\r\nbody",

	"bare LF":                        "GET /first HTTP/1.1\nHost: 127.0.0.1\n\n",
	"bare CR in a value":             get + "X: a\rb\r\n\r\n",
	"NUL in a value":                 get + "X: a\x00b\r\n\r\n",
	"NUL in a name":                  get + "X\x00Y: a\r\n\r\n",
	"DEL in a value":                 get + "X: a\x7fb\r\n\r\n",
	"a tab in a value":               get + "X: a\tb\r\n\r\n",
	"bytes that are not ASCII":       get + "X: \xff\xfe\r\n\r\n",
	"a folded line":                  get + "X: a\r\n b\r\n\r\n",
	"a folded first line":            "GET /first HTTP/1.1\r\n X: y\r\nHost: 127.0.0.1\r\n\r\n",
	"a space before a colon":         get + "X : a\r\n\r\n",
	"a space in a name":              get + "X Y: a\r\n\r\n",
	"a name that is empty":           get + ": a\r\n\r\n",
	"a line without a colon":         get + "X\r\n\r\n",
	"a name that is not ASCII":       get + "X\xff: a\r\n\r\n",
	"names with dots and underscore": get + "X_A: 1\r\nX.B: 2\r\nX-A: 3\r\n\r\n",
	"a name in odd case":             get + "x-oDD: 1\r\nX-ODD: 2\r\n\r\n",
	"CRLF before the request":        "\r\n\r\n" + get + "\r\n",

	"no Host":                         "GET /first HTTP/1.1\r\n\r\n",
	"Host twice":                      get + "Host: 127.0.0.1\r\n\r\n",
	"another Host as well":            get + "Host: evil\r\n\r\n",
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
	"CONNECT with a body":             "CONNECT /first HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 43\r\n\r\n" + smuggled,
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

	"hop-by-hop fields":            get + "Connection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers\r\nProxy-Authorization: x\r\n\r\n",
	"Connection names the address": get + "Connection: X-Forwarded-For, X-Forwarded-Host, Host\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"Connection names Incremental": post + "Connection: Incremental\r\nIncremental: ?1\r\nContent-Length: 4\r\n\r\nbody",
	"Connection names Expect":      post + "Connection: Expect\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
	"a forged address":             get + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 evil\r\n\r\n",
	"TE of more than trailers":     get + "TE: gzip, trailers;q=0.5\r\n\r\n",

	"many fields":       get + strings.Repeat("X-Many: 1\r\n", 5000) + "\r\n",
	"a large field":     get + "X-Large: " + strings.Repeat("x", 512<<10) + "\r\n\r\n",
	"a field too large": get + "X-Large: " + strings.Repeat("x", 1200<<10) + "\r\n\r\n",
	"a target too long": "GET /" + strings.Repeat("x", 1200<<10) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"a long target":     "GET /" + strings.Repeat("x", 512<<10) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",

	"pipelined":                        get + "\r\n" + post + "Content-Length: 4\r\n\r\nbody" + get + "\r\n",
	"pipelined behind chunks":          post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + smuggled,
	"pipelined behind close":           get + "Connection: close\r\n\r\n" + smuggled,
	"pipelined behind a close of body": post + "Connection: close\r\nContent-Length: 4\r\n\r\nbody" + smuggled,
	"pipelined behind one that is bad": get + "X : y\r\n\r\n" + smuggled,
	"pipelined behind HTTP/1.0":        "GET /first HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" + smuggled,
	"pipelined behind HEAD":            "HEAD /first HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
}

// malformedBodies cannot be read to their end. Plain Caddy has sent half of the
// request by then and says 502, as if that were the upstream's fault, and takes
// what follows for the next request.
var malformedBodies = map[string]string{
	"a chunk extension with a LF":   post + "Transfer-Encoding: chunked\r\n\r\n4;\nbody\r\n0\r\n\r\n",
	"a chunk extension with a CR":   post + "Transfer-Encoding: chunked\r\n\r\n4;\rx\r\nbody\r\n0\r\n\r\n",
	"a long chunk extension":        post + "Transfer-Encoding: chunked\r\n\r\n4;" + strings.Repeat("x", 20<<10) + "\r\nbody\r\n0\r\n\r\n",
	"many chunk extensions":         post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\nb\r\n", 400) + "0\r\n\r\n",
	"a chunk size with a plus":      post + "Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n",
	"a chunk size with a minus":     post + "Transfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n",
	"a chunk size with 0x":          post + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n",
	"a chunk size behind a space":   post + "Transfer-Encoding: chunked\r\n\r\n 4\r\nbody\r\n0\r\n\r\n",
	"a chunk size of nothing":       post + "Transfer-Encoding: chunked\r\n\r\n\r\nbody\r\n0\r\n\r\n",
	"a chunk size beyond int64":     post + "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n",
	"a chunk larger than it says":   post + "Transfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n0\r\n\r\n",
	"a chunk smaller than it says":  post + "Transfer-Encoding: chunked\r\n\r\n8\r\nbody\r\n0\r\n\r\n",
	"chunks with bare LF":           post + "Transfer-Encoding: chunked\r\n\r\n4\nbody\n0\n\n",
	"a chunk with another line end": post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbodyxx0\r\n\r\n",
	"no last chunk":                 post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
	"a request as a trailer":        post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n" + smuggled,
	"a trailer that is too large":   post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: " + strings.Repeat("x", 10<<10) + "\r\n\r\n",
}

// ownBodies are taken in by offload itself where it has a spool: it sends the 100
// Continue, and knows what it will never have room for.
var ownBodies = map[string]string{
	"Expect with a body": post + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
	"CL of 2^63-1":       post + "Content-Length: 9223372036854775807\r\n\r\nbody",
}

// What plain Caddy refuses is refused, and what it lets pass arrives at the
// upstream as the same requests.
func TestRawHTTP1(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for name, probe := range http1Probes {
		t.Run(name, func(t *testing.T) { compareBytes(t, r, plain, offloaded, probe) })
	}
}

func TestRawHTTP1WithoutSpools(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "request_spool off\nresponse_spool off")
	for _, probes := range []map[string]string{http1Probes, malformedBodies, ownBodies} {
		for name, probe := range probes {
			t.Run(name, func(t *testing.T) { compareBytes(t, r, plain, offloaded, probe) })
		}
	}
}

// A request whose body makes no sense reaches no upstream, is the client's fault,
// and ends its connection: nobody knows where the next one begins.
func TestRawMalformedBodies(t *testing.T) {
	r, plain, offloaded := rawTwins(t, "")
	for name, probe := range malformedBodies {
		t.Run(name, func(t *testing.T) {
			if answers := play(t, plain.Clear, probe+last); !strings.HasPrefix(answers[0], "502 ") {
				t.Errorf("without offload the answers are %q", answers)
			}
			r.take(t)
			answers := play(t, offloaded.Clear, probe+last)
			if want := []string{`400 "" cut=false close=true`, "closed"}; !slices.Equal(answers, want) {
				t.Errorf("the answers are %q", answers)
			}
			if requests := r.take(t); len(requests) > 0 {
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
		play(t, s.Clear, last)
	}()
	<-entered
	defer func() { close(hold); <-held }()
	large := strings.Repeat(smuggled, 4000)
	const refused = `503 "Service Unavailable\n" cut=false close=true`
	for name, tt := range map[string]struct {
		text    string
		answers []string
	}{
		"a small body":     {fmt.Sprintf(post+"Content-Length: %d\r\n\r\n", len(smuggled)) + smuggled, []string{strings.Replace(refused, "close=true", "close=false", 1), refused, "closed"}},
		"a large body":     {fmt.Sprintf(post+"Content-Length: %d\r\n\r\n", len(large)) + large, []string{refused, "closed"}},
		"a chunked body":   {fmt.Sprintf(post+"Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(smuggled)) + smuggled + "\r\n0\r\n\r\n", []string{refused, "closed"}},
		"an expected body": {fmt.Sprintf(post+"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(smuggled)) + smuggled, []string{refused, "closed"}},
		// The answer comes first; then net/http waits for what was promised.
		"a body that lies": {post + "Content-Length: 70000\r\n\r\n" + smuggled, []string{refused, "waits"}},
	} {
		t.Run(name, func(t *testing.T) {
			if answers := play(t, s.Clear, tt.text+last); !slices.Equal(answers, tt.answers) {
				t.Errorf("the answers are %q, want %q", answers, tt.answers)
			}
		})
	}
}
