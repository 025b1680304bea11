//go:build integration

package plugins

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// upstream is the backend of sites. Each request to /held gives it a channel, and is
// answered when that is closed.
type upstream chan chan struct{}

func (held upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path, _, _ := strings.Cut(r.URL.Path[1:], "/"); path {
	case "held":
		release := make(chan struct{})
		held <- release
		<-release
	case "auth":
		if r.Header.Get("X-Stranger") != "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	case "again": // to be answered by another request
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Then", "1")
	case "echo":
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(body)
	case "large":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(bytes.Repeat([]byte("all work and no play\n"), 50_000))
	case "zipped":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, strings.Repeat("zipped ", 1000))
		_ = z.Close()
	case "events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	case "gone":
		http.Error(w, "not here", http.StatusNotFound)
	case "broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
	case "cut":
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "a part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "trailer":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "with a trailer")
		w.Header().Set("X-Sum", "42")
	default:
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	}
}
