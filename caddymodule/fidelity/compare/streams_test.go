package compare

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// inStep writes n parts and waits after each until the client has it. The wait fails if a
// part is delivered late.
func inStep(n int, part string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		addFields(w.Header(), fields)
		p := playOf(r.Context())
		for i := range n {
			_, _ = io.WriteString(w, part)
			flush(w)
			p.clientHas(int64((i + 1) * len(part)))
		}
	}
}

// headFirst waits until the client has the head before it writes anything.
func headFirst(fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		addFields(w.Header(), fields)
		flush(w)
		playOf(r.Context()).clientHas(0)
		_, _ = io.WriteString(w, "hello")
	}
}

// Responses that are produced piece by piece arrive piece by piece.
func TestCompareStreams(t *testing.T) {
	compare(t, proxied,
		trial{name: "events", answer: inStep(5, "data: tick\n\n", "Content-Type: text/event-stream")},
		trial{name: "events with parameters of the type", answer: inStep(5, "data: tick\n\n", "Content-Type: text/event-stream;charset=utf-8", "Cache-Control: no-cache")},
		trial{name: "events of known length", answer: inStep(5, "data: tick\n\n", "Content-Type: text/event-stream", "Content-Length: 60")},
		trial{name: "lines of JSON", answer: inStep(5, "{\"tick\":1}\n", "Content-Type: application/x-ndjson")},
		trial{name: "text of unknown length", answer: inStep(5, "tick", "Content-Type: text/plain")},
		trial{name: "pieces of 5000 bytes", answer: inStep(10, string(pattern(5000)), "Content-Type: a/b")},
		trial{name: "pieces of 100 KiB", answer: inStep(4, string(pattern(100*kib)), "Content-Type: a/b")},
		trial{name: "a single byte at a time", answer: inStep(50, "x", "Content-Type: a/b")},
		trial{name: "with X-Accel-Buffering", answer: inStep(3, "tick", "Content-Type: a/b", "X-Accel-Buffering: no")},
		trial{name: "incremental", answer: inStep(3, "tick", "Content-Type: a/b", "Incremental: ?1")},
		trial{name: "not incremental", answer: inStep(3, "tick", "Content-Type: a/b", "Incremental: ?0")},
		trial{name: "incremental of known length", answer: inStep(3, "tick", "Content-Type: a/b", "Content-Length: 12", "Incremental: ?1")},
		trial{
			name: "incremental both ways", request: request{method: "POST", body: sized(5000), fields: []string{"Incremental: ?1"}},
			answer: inStep(3, "tick", "Content-Type: a/b", "Incremental: ?1"), traits: neverSpooled,
		},
		trial{name: "an incremental upload of unknown length", request: request{method: "POST", body: unsized(5000), fields: []string{"Incremental: ?1"}}, traits: neverSpooled},
		trial{name: "an incremental field that is none", request: request{method: "POST", body: sized(5000), fields: []string{"Incremental: yes"}}},
		trial{name: "the head first", answer: headFirst("Content-Type: a/b")},
		trial{name: "the head of events first", answer: headFirst("Content-Type: text/event-stream")},
		trial{name: "with trailers", answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			inStep(3, "tick", "Content-Type: a/b")(w, r)
			w.Header().Set("X-Sum", "3")
		}},
	)
}

// An answer that is flushed by the clock, or at once.
func TestCompareFlushIntervals(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		compare(t, proxy("UPSTREAM", "flush_interval -1"),
			trial{name: "known length", answer: inStep(3, "tick", "Content-Length: 12", "Content-Type: a/b")},
			trial{name: "unknown length", answer: inStep(3, "tick", "Content-Type: a/b")},
			trial{name: "100 KiB", answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(100*kib))
				w.Header().Set("Content-Type", "a/b")
				inPieces(w, 100*kib, 3000)
			}},
		)
	})
	t.Run("by the clock", func(t *testing.T) {
		compare(t, proxy("UPSTREAM", "flush_interval 5ms"),
			trial{name: "known length", answer: inStep(3, "tick", "Content-Length: 12", "Content-Type: a/b")},
			trial{name: "unknown length", answer: inStep(3, "tick", "Content-Type: a/b")},
		)
	})
}

// steps is a body in parts, before each of which the client waits for something.
func steps(wait func(p *play, sent int64), parts ...string) func(p *play) io.Reader {
	return func(p *play) io.Reader { return &stepReader{p: p, wait: wait, parts: parts} }
}

type stepReader struct {
	p     *play
	wait  func(p *play, sent int64)
	parts []string
	sent  int64
}

func (r *stepReader) Read(b []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	r.wait(r.p, r.sent)
	if r.p.hasLeft() {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, r.parts[0])
	r.parts = r.parts[1:]
	r.sent += int64(n)
	return n, nil
}

// Bodies that the upstream gets while the client still sends, and answers that
// come before the body has been read, where nothing is spooled.
func TestCompareFullDuplex(t *testing.T) {
	duplex := proxy("UPSTREAM", "flush_interval -1")
	duplex.global = "servers {\nprotocols h1 h2 h2c h3\nenable_full_duplex\n}"
	parts := []string{"first", "second", "third"}
	upstreamHas := func(p *play, sent int64) {
		if sent > 0 {
			p.upstreamHas(sent)
		}
	}
	clientHas := func(p *play, sent int64) { // the client got back the bytes that it sent
		if sent > 0 {
			p.clientHas(sent)
		}
	}
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		typed(w)
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			flush(w)
			if err != nil {
				return
			}
		}
	}
	compare(t, duplex,
		trial{name: "an upload in steps", request: request{method: "POST", body: body{open: steps(upstreamHas, parts...), length: 16, untold: true}}, with: unspooled},
		trial{name: "an upload in steps of known length", request: request{method: "POST", body: body{open: steps(upstreamHas, parts...), length: 16}}, with: unspooled},
		trial{name: "an echo in steps", request: request{method: "POST", body: body{open: steps(clientHas, parts...), length: 16, untold: true}}, unread: true, answer: echo, with: unspooled},
		trial{name: "an incremental echo in steps", request: request{
			method: "POST", fields: []string{"Incremental: ?1"},
			body: body{open: steps(clientHas, parts...), length: 16, untold: true},
		}, unread: true, answer: echo, traits: neverSpooled},
		trial{name: "an answer before the body", request: request{method: "POST", body: body{
			open:   steps(func(p *play, sent int64) { p.clientHas(5) }, parts...),
			length: 16, untold: true,
		}}, unread: true, answer: func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			typed(w)
			_, _ = io.WriteString(w, "early")
			flush(w)
			_, _ = io.Copy(io.Discard, r.Body)
		}, with: unspooled},
	)
}

var unspooled = []string{"unspooled"}

// Buffers of reverse_proxy itself.
func TestCompareBuffers(t *testing.T) {
	compare(t, proxy("UPSTREAM", "request_buffers 4KiB", "response_buffers 4KiB"),
		trial{name: "small", request: request{method: "POST", body: sized(100)}},
		trial{name: "small, unknown length", request: request{method: "POST", body: unsized(100)}},
		trial{name: "large", request: request{method: "POST", body: sized(100 * kib)}, answer: announced(100*kib, "X-Sum: 1")},
		trial{name: "large, unknown length", request: request{method: "POST", body: unsized(100 * kib)}},
		trial{name: "small answer in pieces", answer: func(w http.ResponseWriter, _ *http.Request) {
			typed(w)
			inPieces(w, 100, 10)
		}},
		trial{name: "events", answer: func(w http.ResponseWriter, _ *http.Request) {
			addFields(w.Header(), []string{"Content-Type: text/event-stream"})
			flush(w)
			inPieces(w, 10000, 100)
		}},
		trial{name: "incremental upload", request: request{method: "POST", body: sized(100), fields: []string{"Incremental: ?1"}}, traits: neverSpooled},
		trial{name: "incremental answer", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Incremental", "?1")
			typed(w)
			inPieces(w, 100, 10)
		}},
		trial{name: "cut answer", answer: raw("HTTP/1.1 200 OK\nContent-Type: a/b\nContent-Length: 100\n\nhalf")},
	)
}

// A wait that plain Caddy ends too. Its limit holds for the request after the exchange as well,
// which a busy machine may not serve within milliseconds.
func TestCompareTimeouts(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	compare(t, proxy("UPSTREAM", "transport http {", "response_header_timeout 300ms", "}"),
		trial{name: "no head", request: post("/", 10), answer: hang, normal: forgetUpstream},
		trial{name: "no head after 1xx", request: get("/"), answer: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			hang(w, r)
		}, normal: func(x *exchange) { x.informed = nil }}, // they may be too late
	)
}
