package compare

import (
	"net/http"
	"testing"
)

// announced answers with n bytes and trailers that the head announces.
func announced(n int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range fields {
			w.Header().Add("Trailer", nameOf(f))
		}
		typed(w)
		inPieces(w, n, 5000)
		addFields(w.Header(), fields)
	}
}

// surprising answers with n bytes and trailers that the head does not announce.
func surprising(n int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		typed(w)
		inPieces(w, n, 5000)
		for _, f := range fields {
			addFields(w.Header(), []string{http.TrailerPrefix + f})
		}
	}
}

func TestCompareTrailers(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\nContent-Type: a/b\nTransfer-Encoding: chunked\n"
	compare(t, proxied,
		trial{name: "announced", answer: announced(5, "X-Sum: 42")},
		trial{name: "announced, after nothing", answer: announced(0, "X-Sum: 42")},
		trial{name: "announced, after 2 KiB", answer: announced(2*kib, "X-Sum: 42")},
		trial{name: "announced, after 300 KiB", answer: announced(300*kib, "X-Sum: 42")},
		trial{name: "several, with several values", answer: announced(5, "X-Sum: 42", "X-Two: 1", "X-Two: 2", "X-Empty: ")},
		trial{name: "announced in one field", answer: raw(chunked + "Trailer: X-A, X-B,X-C\n\n5\nhello\n0\nX-A: 1\nX-B: 2\nX-C: 3\n\n")},
		trial{name: "announced and not sent", answer: raw(chunked + "Trailer: X-A\n\n5\nhello\n0\n\n")},
		trial{name: "announced twice", answer: raw(chunked + "Trailer: X-A\nTrailer: X-A\n\n5\nhello\n0\nX-A: 1\n\n")},
		trial{name: "also in the head", answer: raw(chunked + "Trailer: X-A\nX-A: early\n\n5\nhello\n0\nX-A: late\n\n")},
		trial{name: "not announced", answer: surprising(5, "X-Surprise: 1")},
		trial{name: "not announced, after nothing", answer: surprising(0, "X-Surprise: 1")},
		trial{name: "not announced, after 300 KiB", answer: surprising(300*kib, "X-Surprise: 1", "X-Other: 2")},
		trial{name: "some announced", answer: raw(chunked + "Trailer: X-A\n\n5\nhello\n0\nX-A: 1\nX-B: 2\n\n")},
		trial{name: "that must not be trailers", answer: raw(chunked + "\n5\nhello\n0\nContent-Length: 3\nTransfer-Encoding: gzip\nX-A: 1\n\n")},
		trial{name: "announced that must not be trailers", answer: raw(chunked + "Trailer: Content-Length\n\n5\nhello\n0\n\n")},
		trial{name: "announced beside a length", answer: raw("HTTP/1.1 200 OK\nContent-Length: 5\nTrailer: X-A\n\nhello")},
		trial{name: "of an error", answer: raw("HTTP/1.1 500 Oh\nContent-Type: a/b\nTransfer-Encoding: chunked\nTrailer: X-A\n\n5\nhello\n0\nX-A: 1\n\n")},
		trial{name: "asked for", request: request{fields: []string{"Te: trailers"}}, answer: announced(5, "X-Sum: 42")},
		trial{name: "in small letters", answer: raw(chunked + "trailer: x-a\n\n5\nhello\n0\nx-a: 1\n\n")},
	)
}

func TestCompareRequestTrailers(t *testing.T) {
	with := func(b body, fields ...string) request { return request{method: "POST", body: b, trailers: fields} }
	compare(t, proxied,
		trial{name: "one", request: with(unsized(100), "X-Sum: 42")},
		trial{name: "several", request: with(unsized(100), "X-Sum: 42", "X-Other: a", "X-Third: b")},
		trial{name: "after nothing", request: with(unsized(0), "X-Sum: 42"), on: []string{"raw", "h1", "h3"}}, // the others never send them
		trial{name: "after 300 KiB", request: with(unsized(300*kib), "X-Sum: 42")},
		trial{name: "of PUT", request: request{method: "PUT", body: unsized(100), trailers: []string{"X-Sum: 42"}}},
		trial{name: "both ways", request: with(unsized(100), "X-Sum: 42"), answer: announced(100, "X-Back: 43")},
		trial{name: "not announced", request: request{raw: "POST / HTTP/1.1\nHost: SITE\nX-Play: PLAY\nTransfer-Encoding: chunked\n\n" +
			"5\nfirst\n0\nX-Surprise: 1\n\n"}, normal: forgetLength},
		trial{name: "announced and not sent", request: request{raw: "POST / HTTP/1.1\nHost: SITE\nX-Play: PLAY\nTrailer: X-A\nTransfer-Encoding: chunked\n\n" +
			"5\nfirst\n0\n\n"}},
	)
}
