package discard

import (
	"io"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// BeforeEnd flushes an answer that is written, and discards the rest of the upload on
// HTTP/2 and 3. A handler calls it at its end, since the server resets the stream when the
// handler returns.
func (d *Discarder) BeforeEnd(w http.ResponseWriter, r *http.Request) {
	if asks(r) || buffered(w) || !d.begin() {
		return
	}
	defer d.done()
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	if stream := takeOver(w); stream != nil {
		// Close ends the answer only: the other direction of the stream still receives the
		// upload.
		_ = stream.Close()
		d.read(stream, d.bounds.Time)
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
		return
	}
	d.read(body{r.Body, control}, d.bounds.HTTP2)
}

// asks reports whether the client waits for a 100 Continue before it sends the body. After
// the answer it sends none. net/http removes the field on HTTP/2, and sends no 100 after an
// answer.
func asks(r *http.Request) bool { return r.Header.Get("Expect") != "" }

// buffered reports whether a handler in front keeps the answer until this one has returned.
func buffered(w http.ResponseWriter) bool {
	for {
		if b, ok := w.(interface{ Buffered() bool }); ok && b.Buffered() {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}

// takeOver takes the HTTP/3 stream from the server if nothing can follow the bytes that
// were written: the answer has a length and no trailers. It returns nil on HTTP/2, where
// net/http gives no access to the stream.
func takeOver(w http.ResponseWriter) *http3.Stream {
	w = innermost(w)
	streamer, ok := w.(http3.HTTPStreamer)
	if h := w.Header(); !ok || h.Get("Content-Length") == "" || h.Get("Trailer") != "" {
		return nil
	}
	return streamer.HTTPStream()
}

func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// body is a request's body with the deadlines of its stream.
type body struct {
	io.Reader
	control *http.ResponseController
}

func (b body) SetReadDeadline(t time.Time) error { return b.control.SetReadDeadline(t) }
