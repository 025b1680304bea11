//go:build integration

package clients

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// reports serves the page that makes calls in a browser, gets its reports, and has the
// stream that it listens to.
type reports struct {
	mu   sync.Mutex
	seen map[string]chan []seen // by the page's key
	over <-chan struct{}
}

func newReports(over <-chan struct{}) *reports {
	return &reports{seen: map[string]chan []seen{}, over: over}
}

// of is the channel for the report with a key.
func (r *reports) of(key string) chan []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] == nil {
		r.seen[key] = make(chan []seen, 1)
	}
	return r.seen[key]
}

// await returns the report with a key.
func (r *reports) await(t *testing.T, key string) []seen {
	t.Helper()
	select {
	case list := <-r.of(key):
		return list
	case <-time.After(patience):
		t.Fatalf("the page %s reports nothing", key)
		return nil
	}
}

func (r *reports) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch strings.Split(req.URL.Path, "/")[1] {
	case "stream":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-req.Context().Done():
		case <-r.over:
		}
	case "report":
		var list []seen
		if err := json.NewDecoder(req.Body).Decode(&list); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.of(path.Base(req.URL.Path)) <- list
	default:
		http.ServeFile(w, req, "testdata/page.html")
	}
}

// pageURL is that of a page that makes calls with one of the browser's clients.
func pageURL(at, key, client string, calls []call) string {
	text, err := json.Marshal(calls)
	if err != nil {
		panic(err)
	}
	return at + "?" + url.Values{"key": {key}, "client": {client}, "calls": {string(text)}}.Encode()
}
