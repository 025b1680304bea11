package compare

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompareStatuses(t *testing.T) {
	var trials []trial
	for _, code := range []int{
		200, 201, 202, 203, 207, 208, 226, 299, 300, 301, 302, 303, 305, 307, 308, 400, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411,
		412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 425, 426, 428, 429, 431, 444, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 599,
		600, 777, 999,
	} {
		trials = append(trials, trial{name: fmt.Sprint(code), answer: answer(code, "text")})
	}
	compare(t, proxied, append(trials,
		trial{name: "nothing", answer: func(http.ResponseWriter, *http.Request) {}},
		trial{name: "204", answer: answer(204, "")},
		trial{name: "204 with a length", answer: raw("HTTP/1.1 204 No Content\nContent-Length: 0\n\n")},
		trial{name: "204 with a body", answer: raw("HTTP/1.1 204 No Content\nContent-Length: 5\n\nhello")},
		trial{name: "205", answer: answer(205, "")},
		trial{name: "205 with a body", answer: raw("HTTP/1.1 205 Reset Content\nContent-Length: 5\n\nhello")},
		trial{name: "206", answer: answer(206, "text", "Content-Range: bytes 0-3/100")},
		trial{name: "304", answer: answer(304, "", `Etag: "1"`, "Cache-Control: max-age=60")},
		trial{name: "304 with a length", answer: raw("HTTP/1.1 304 Not Modified\nEtag: \"1\"\nContent-Length: 500\n\n")},
		trial{name: "304 with a body", answer: raw("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\nhello")},
		trial{name: "401", answer: answer(401, "who?", `Www-Authenticate: Basic realm="a"`, `Www-Authenticate: Bearer`)},
		trial{name: "405 with Allow", answer: answer(405, "", "Allow: GET, HEAD")},
		trial{name: "429 with Retry-After", answer: answer(429, "later", "Retry-After: 120")},
		trial{name: "503 with Retry-After", answer: answer(503, "later", "Retry-After: 120")},
		trial{name: "a redirect", answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there?a=b#c", http.StatusFound) }},
		trial{name: "a redirect to elsewhere", answer: answer(301, "", "Location: https://other.example/%20")},
		trial{name: "a status without a reason", answer: raw("HTTP/1.1 200\nContent-Length: 5\n\nhello")},
		trial{name: "a reason of its own", answer: raw("HTTP/1.1 404 Gone Fishing\nContent-Length: 5\n\nhello")},
		trial{name: "HTTP/1.0", answer: raw("HTTP/1.0 200 OK\nContent-Length: 5\n\nhello")},
		trial{name: "HTTP/1.0 without a length", answer: raw("HTTP/1.0 200 OK\nContent-Type: a/b\n\nhello")},
		trial{name: "HTTP/1.0 that keeps the connection", answer: raw("HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 5\n\nhello")},
		trial{name: "lines that end early", answer: onConnBytes("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")},
	)...)
}

func TestCompareHEAD(t *testing.T) {
	head := request{method: "HEAD"}
	compare(t, proxied,
		trial{name: "with a length", request: head, answer: answer(200, "", "Content-Length: 1000")},
		trial{name: "without a length", request: head, answer: func(w http.ResponseWriter, _ *http.Request) { flush(w) }},
		trial{name: "in chunks", request: head, answer: raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")},
		trial{name: "with a body", request: head, answer: raw("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")},
		trial{name: "404", request: head, answer: answer(404, "", "Content-Length: 10")},
		trial{name: "304", request: head, answer: answer(304, "", `Etag: "1"`)},
		trial{name: "204", request: head, answer: answer(204, "")},
		trial{name: "a redirect", request: head, answer: answer(302, "", "Location: /there")},
		trial{name: "with trailers announced", request: head, answer: raw("HTTP/1.1 200 OK\nTrailer: X-Sum\nTransfer-Encoding: chunked\n\n")},
		trial{name: "of an upstream that is cut", request: head, answer: raw("HTTP/1.1 200 OK\nContent-")},
		trial{name: "of a file", request: head, answer: serveFile},
	)
}

func TestCompareRanges(t *testing.T) {
	with := func(fields ...string) request { return request{fields: fields} }
	trials := []trial{
		{name: "all of it"},
		{name: "the start", request: with("Range: bytes=0-9")},
		{name: "a middle", request: with("Range: bytes=1000-1999")},
		{name: "the end", request: with("Range: bytes=-10")},
		{name: "an open end", request: with("Range: bytes=99990-")},
		{name: "two", request: with("Range: bytes=0-9,50-59")},
		{name: "more than there is", request: with("Range: bytes=99000-200000")},
		{name: "beyond the end", request: with("Range: bytes=100000-")},
		{name: "nonsense", request: with("Range: bytes=9-0")},
		{name: "other units", request: with("Range: lines=0-9")},
		{name: "if the tag fits", request: with("Range: bytes=0-9", `If-Range: "tag"`)},
		{name: "if the tag does not fit", request: with("Range: bytes=0-9", `If-Range: "other"`)},
		{name: "if the date fits", request: with("Range: bytes=0-9", "If-Range: Sun, 09 Sep 2001 01:46:40 GMT")},
		{name: "only if another tag", request: with(`If-None-Match: "tag"`)},
		{name: "only if another of these tags", request: with(`If-None-Match: "a", W/"tag"`)},
		{name: "only if changed since", request: with("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT")},
		{name: "only if this tag", request: with(`If-Match: "other"`)},
		{name: "only if not changed since", request: with("If-Unmodified-Since: Sat, 08 Sep 2001 01:46:40 GMT")},
		{name: "of a HEAD", request: request{method: "HEAD", fields: []string{"Range: bytes=0-9"}}},
	}
	for i := range trials {
		trials[i].answer, trials[i].normal = serveFile, sameChance
	}
	compare(t, proxied, trials...)
}

// serveFile serves 100,000 bytes as net/http serves files.
func serveFile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", `"tag"`)
	http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader(string(pattern(1e5))))
}

var (
	boundaries = regexp.MustCompile(`multipart/byteranges; boundary=(\S+)`)
	nonces     = regexp.MustCompile(`'nonce-(\S+)'`)
)

// sameChance replaces random values of net/http and file_server: the boundary between
// ranges, and the nonce of a list of files.
func sameChance(x *exchange) {
	for i := range x.answers {
		m := &x.answers[i]
		for _, field := range slices.Clone(m.fields) {
			for _, random := range []*regexp.Regexp{boundaries, nonces} {
				if found := random.FindStringSubmatch(field); found != nil {
					m.replace(found[1], "CHANCE")
					replaceAll(x.log, found[1], "CHANCE")
				}
			}
		}
	}
}

func (m *message) replace(old, text string) {
	replaceAll(m.fields, old, text)
	m.body = []byte(strings.ReplaceAll(string(m.body), old, text))
}

func replaceAll(list []string, old, text string) {
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], old, text)
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// typed begins an answer of unknown length. It has a type, since without one it is
// chance in plain Caddy whether there is something to guess it from.
func typed(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "a/b")
	flush(w)
}

// inPieces writes n bytes of the pattern, at most so many at once.
func inPieces(w io.Writer, n, most int) {
	for text := pattern(n); len(text) > 0; {
		size := min(most, len(text))
		_, _ = w.Write(text[:size])
		text = text[size:]
	}
}
