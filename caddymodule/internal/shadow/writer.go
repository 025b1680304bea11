package shadow

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// writer wraps the client's writer. It records when the answer begins, and changes nothing.
type writer struct {
	http.ResponseWriter
	head   func(status int, h http.Header) // is called with the final head
	status int                             // of that, zero before
}

func (w *writer) began(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		w.head(status, w.Header())
	}
}

// WriteHeader writes a head.
func (w *writer) WriteHeader(status int) {
	w.began(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (w *writer) Write(p []byte) (int, error) {
	w.began(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// ReadFrom copies the body, through the kernel if the connection allows it.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.began(http.StatusOK)
	return (&caddyhttp.ResponseWriterWrapper{ResponseWriter: w.ResponseWriter}).ReadFrom(r)
}

// Unwrap returns the client's writer, for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var (
	_ http.ResponseWriter = (*writer)(nil)
	_ io.ReaderFrom       = (*writer)(nil)
)
