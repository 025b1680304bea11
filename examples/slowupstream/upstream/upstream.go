// Package upstream is a slow HTTP service that behaves like a pre-forking
// server with synchronous workers (gunicorn's sync workers, PHP-FPM).
//
//	any path            a report, as slow and as broken as its query says
//	GET /ping           "pong", by the same workers
//	GET /stats          figures as JSON, without a worker
//	POST /stats/reset   sets the figures to zero
//
// A worker is busy from the start of a request until its client's kernel has the
// last byte: it reads the upload itself, and the small send buffer of its
// connection makes it wait for a slow reader. It continues when the client
// leaves, and notices that at its next write. Requests beyond the number of
// workers wait in the listen backlog. With each of them all work gets slower
// (swapping, lock contention, garbage collection). Unlike gunicorn it keeps idle
// connections open; they hold no worker.
//
// Parameters in the query of a report:
//
//	delay=200ms       service time before the headers (0)
//	pause=50ms        time between two chunks (0)
//	chunks=10         pieces of the body, each flushed (1)
//	size=65536        bytes of the body (1024)
//	status=500        status code (200)
//	hang=head|body    stop before the headers or in the middle of the body, until the upstream is closed
//	cut=head|body     close the connection there
//	trailers=true     send the trailer X-Report-Chunks
package upstream

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/examples/internal/serve"
)

// Options are the settings of the upstream. The zero value means the defaults.
type Options struct {
	// Workers is the number of workers. Default 10.
	Workers int
	// Backlog is the number of requests that can wait for a worker; further
	// clients are not connected until there is a place. Default 256.
	Backlog int
	// Thrash is the share by which each request inside beyond the number of
	// workers slows down all work: 0.05 means five percent. Default 0.05,
	// negative: no slowdown.
	Thrash float64
}

// sendBuffer is the size of a connection's send buffer: large enough that a
// normal reader does not delay a worker, far below the unread bytes of a slow
// one.
const sendBuffer = 32 << 10

// Server is the service. It serves as an http.Handler until Close.
type Server struct {
	mux      *http.ServeMux
	workers  *workers
	counters counters
}

// New returns a Server.
func New(o Options) *Server {
	if o.Workers == 0 {
		o.Workers = 10
	}
	if o.Backlog == 0 {
		o.Backlog = 256
	}
	if o.Thrash == 0 {
		o.Thrash = 0.05
	}
	s := &Server{
		mux:      http.NewServeMux(),
		workers:  newWorkers(o.Workers, o.Backlog, max(0, o.Thrash)),
		counters: counters{stats: Stats{Workers: o.Workers}},
	}
	s.mux.HandleFunc("/", s.report)
	s.mux.HandleFunc("GET /ping", s.ping)
	s.mux.HandleFunc("GET /stats", s.showStats)
	s.mux.HandleFunc("POST /stats/reset", func(http.ResponseWriter, *http.Request) { s.counters.reset() })
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// Stats returns the figures.
func (s *Server) Stats() Stats { return s.counters.snapshot() }

// Close ends every wait; the connections of the requests inside are cut.
func (s *Server) Close() { s.workers.close() }

// Serve accepts connections on ln until ctx is done, then closes the server and
// waits for its goroutines.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if tcp, ok := c.(*net.TCPConn); ok {
				// If the system does not allow that size, slow readers hold a
				// worker for a shorter time.
				_ = tcp.SetWriteBuffer(sendBuffer)
			}
			return ctx
		},
	}
	return serve.Until(ctx, ln, srv, s.Close)
}

// ping needs a worker, but no service time.
func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	if err := s.workers.enter(r.Context()); err != nil {
		panic(http.ErrAbortHandler)
	}
	defer s.workers.leave()
	if err := s.workers.accept(); err != nil {
		panic(http.ErrAbortHandler)
	}
	defer s.workers.done()
	if _, err := io.WriteString(w, "pong\n"); err == nil {
		s.counters.update(func(f *Stats) { f.Pings++ })
	}
}

// showStats answers without a worker, so that a test can read the figures at any
// time.
func (s *Server) showStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	// Only the client could be informed, and it has left.
	_ = json.NewEncoder(w).Encode(s.Stats())
}
