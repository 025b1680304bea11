package compare

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"testing"
)

// encoded is an upstream that compresses by itself.
func encoded(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	_, _ = zip.Write(pattern(20 * kib))
	_ = zip.Close()
	addFields(w.Header(), []string{"Content-Encoding: gzip", "Content-Type: text/plain", "Vary: Accept-Encoding", fmt.Sprintf("Content-Length: %d", b.Len())})
	_, _ = w.Write(b.Bytes())
}

// text answers with n bytes that are worth compressing.
func text(n int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		addFields(w.Header(), append([]string{"Content-Type: text/plain", fmt.Sprintf("Content-Length: %d", n)}, fields...))
		inPieces(w, n, 5000)
	}
}

// Compression before and behind offload. Compressed bytes depend on the flushes, so the
// test compares the text.
func TestCompareEncodings(t *testing.T) {
	accepts := func(list string) request { return request{fields: []string{"Accept-Encoding: " + list}} }
	trials := []trial{
		{name: "gzip", request: accepts("gzip"), answer: text(20 * kib)},
		{name: "zstd", request: accepts("zstd"), answer: text(20 * kib)},
		{name: "the better one", request: accepts("gzip;q=0.5, zstd"), answer: text(20 * kib)},
		{name: "none", request: accepts("identity"), answer: text(20 * kib)},
		{name: "not asked for", answer: text(20 * kib)},
		{name: "too small", request: accepts("gzip"), answer: text(100)},
		{name: "just large enough", request: accepts("gzip"), answer: text(512)},
		{name: "large", request: accepts("gzip"), answer: text(300 * kib)},
		{name: "encoded already", request: accepts("gzip"), answer: encoded},
		{name: "of a type that is not compressed", request: accepts("gzip"), answer: text(20*kib, "Content-Type: image/png")},
		{name: "with a tag", request: accepts("gzip"), answer: text(20*kib, `Etag: "1"`)},
		{name: "with a weak tag", request: accepts("gzip"), answer: text(20*kib, `Etag: W/"1"`)},
		{name: "not to be transformed", request: accepts("gzip"), answer: text(20*kib, "Cache-Control: no-transform")},
		{name: "HEAD", request: request{method: "HEAD", fields: []string{"Accept-Encoding: gzip"}}, answer: text(20 * kib)},
		{name: "304", request: accepts("gzip"), answer: answer(304, "", `Etag: "1"`)},
		{name: "an error", request: accepts("gzip"), answer: answer(500, string(pattern(5000)), "Content-Type: text/plain")},
		{name: "a range", request: request{fields: []string{"Accept-Encoding: gzip", "Range: bytes=0-999"}}, answer: serveFile},
		{name: "events", request: accepts("gzip"), answer: func(w http.ResponseWriter, _ *http.Request) {
			addFields(w.Header(), []string{"Content-Type: text/event-stream"})
			inPieces(w, 5000, 500)
		}},
		{name: "unknown length, in pieces", request: accepts("gzip"), answer: func(w http.ResponseWriter, _ *http.Request) {
			addFields(w.Header(), []string{"Content-Type: text/plain"})
			flush(w)
			inPieces(w, 20*kib, 1000)
		}},
		{name: "with trailers", request: accepts("gzip"), answer: announced(20*kib, "X-Sum: 1")},
		{name: "cut", request: accepts("gzip"), answer: raw("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 10000\n\n" + string(pattern(5000)))},
		{name: "with 103", request: accepts("gzip"), answer: raw("HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 5000\n\n" + string(pattern(5000)))},
		{name: "nothing", request: accepts("gzip"), answer: func(http.ResponseWriter, *http.Request) {}},
		{name: "nothing of a length", request: accepts("gzip"), answer: answer(200, "")},
	}
	for i := range trials {
		trials[i].normal, trials[i].traits = decoded, unmeasured
	}
	compareRoutes(t, routeTrials{
		"in front": {"route {\nencode zstd gzip\nOFFLOAD\nreverse_proxy UPSTREAM\n}", trials},
		"behind":   {"route {\nOFFLOAD\nencode zstd gzip\nreverse_proxy UPSTREAM\n}", trials},
		"usual":    {"encode\nOFFLOAD\nreverse_proxy UPSTREAM", trials},
	})
}
