package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
)

// Stats are the counters of an upstream since its start.
type Stats struct {
	Inside    int // requests that wait for a worker or have one
	MaxInside int
	Served    int // answered by a worker
	Overflown int // rejected because the backlog was full
}

// workers is a server of synchronous workers. A worker is busy from the head of
// a request to the last byte of its answer, also after its client has left: such
// servers do not notice that.
type workers struct {
	config  Config
	free    chan struct{}    // one element for each busy worker; nil: no limit
	journal *journal.Journal // nil: none
	ill     atomic.Bool      // health checks fail

	mu    sync.Mutex
	stats Stats // guarded by mu
}

func newWorkers(config Config) *workers {
	w := &workers{config: config}
	if config.Workers > 0 {
		w.free = make(chan struct{}, config.Workers)
	}
	return w
}

// ServeHTTP implements http.Handler.
func (w *workers) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if w.config.Health != "" && r.URL.Path == w.config.Health {
		w.answerCheck(rw)
		return
	}
	route, found := w.route(r.URL.Path)
	if !found {
		http.NotFound(rw, r)
		return
	}
	if !w.enter() {
		http.Error(rw, "backlog full", http.StatusServiceUnavailable)
		return
	}
	defer w.leave()
	// Most requests have no number.
	number, _ := strconv.Atoi(r.Header.Get(journal.Header))
	w.journal.Note(journal.Arrived, number)
	if w.free != nil {
		// The Go runtime serves senders on a channel in the order of their arrival, so this
		// is a queue.
		w.free <- struct{}{}
		defer func() { <-w.free }()
	}
	// A body that is cut short does not matter: the worker serves the request
	// anyway.
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		w.journal.Note(journal.Read, number)
	}
	time.Sleep(w.service(route))
	// Nothing of the answer is sent before this.
	w.journal.Note(journal.Left, number)
	if route.Events > 0 {
		writeEvents(rw, route)
		return
	}
	rw.Header().Set("Content-Type", "application/octet-stream")
	rw.Header().Set("Content-Length", fmt.Sprint(route.Size))
	// The client may have left; the worker was busy all the same.
	_, _ = rw.Write(make([]byte, route.Size))
}

func (w *workers) route(path string) (Route, bool) {
	for prefix, route := range w.config.Routes {
		if strings.HasPrefix(path, prefix) {
			return route, true
		}
	}
	return Route{}, false
}

// enter admits a request, unless workers and backlog are full.
func (w *workers) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.config.Workers > 0 && w.stats.Inside >= w.config.Workers+w.config.Backlog {
		w.stats.Overflown++
		return false
	}
	w.stats.Inside++
	w.stats.MaxInside = max(w.stats.MaxInside, w.stats.Inside)
	return true
}

func (w *workers) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Inside--
	w.stats.Served++
}

// service returns the run time of the route with the current number of requests.
func (w *workers) service(route Route) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	beyond := 0
	if w.config.Workers > 0 {
		beyond = max(0, w.stats.Inside-w.config.Workers)
	}
	service := time.Duration(float64(route.Service) * (1 + w.config.Thrash*float64(beyond)))
	if route.Jitter > 0 {
		service += rand.N(2*route.Jitter) - route.Jitter
	}
	return service
}

// answerCheck answers a health check.
func (w *workers) answerCheck(rw http.ResponseWriter) {
	if w.ill.Load() {
		w.journal.Note(journal.Ill, 0)
		rw.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.journal.Note(journal.Well, 0)
}

// The paths of the control server; all others have the counters.
const (
	illPath  = "/ill"  // health checks fail from now on
	wellPath = "/well" // they succeed again
)

func (w *workers) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(illPath, func(http.ResponseWriter, *http.Request) { w.ill.Store(true) })
	mux.HandleFunc(wellPath, func(http.ResponseWriter, *http.Request) { w.ill.Store(false) })
	mux.HandleFunc("/", w.serveStats)
	return mux
}

func (w *workers) serveStats(rw http.ResponseWriter, _ *http.Request) {
	w.mu.Lock()
	stats := w.stats
	w.mu.Unlock()
	// A client that has left needs no answer.
	_ = json.NewEncoder(rw).Encode(stats)
}

// writeEvents sends events that carry the time at which they were sent.
func writeEvents(rw http.ResponseWriter, route Route) {
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(rw)
	for range route.Events {
		time.Sleep(route.Every)
		if _, err := fmt.Fprintf(rw, "data: %d\n\n", time.Now().UnixNano()); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
	time.Sleep(route.Hold)
}
