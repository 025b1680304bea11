// Package worker is an HTTP service with one event loop and one blocking route,
// like an async Python or Node service with a long computation in a handler.
//
//	GET /factorial/{n}   the digits of n!, streamed while they are formatted
//	GET /ping            "pong"
//
// All handlers run on the loop, one after the other, so a large n delays all
// clients, those of /ping included. A request that was read is handled even if
// its client has left; but after a failed write the rest of that response is
// not computed. Slow readers do not block the loop.
//
// It is an upstream for a pool, not a model of a good service.
package worker

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/examples/internal/serve"
)

// Server is the service. It serves as an http.Handler from New to Close.
type Server struct {
	mux   *http.ServeMux
	tasks chan func()   // received by the loop in the order of arrival
	quit  chan struct{} // closed by Close
	loop  sync.WaitGroup
	once  sync.Once
}

// New starts the loop; Close ends it.
func New() *Server {
	s := &Server{
		mux:   http.NewServeMux(),
		tasks: make(chan func()),
		quit:  make(chan struct{}),
	}
	s.mux.Handle("GET /factorial/{n}", s.onLoop(s.factorial))
	s.mux.Handle("GET /ping", s.onLoop(s.ping))
	s.loop.Go(s.run)
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// Serve accepts connections on ln until ctx is done, then closes the server and
// waits for its goroutines.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	return serve.Until(ctx, ln, srv, s.Close)
}

// Close ends the loop after the piece in progress and waits for it. Requests
// that are still waiting are answered with 503.
func (s *Server) Close() {
	s.once.Do(func() { close(s.quit) })
	s.loop.Wait()
}

// run is the loop.
func (s *Server) run() {
	for {
		select {
		case task := <-s.tasks:
			task()
		case <-s.quit:
			return
		}
	}
}

// onLoop returns an http.Handler that runs a handler on the loop.
func (s *Server) onLoop(handle func(*http.Request, *reply)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := newReply()
		task := func() {
			defer close(p.pieces)
			handle(r, p)
		}
		// The request's context is ignored: a request that was read is handled.
		select {
		case s.tasks <- task:
			p.copyTo(w)
		case <-s.quit:
			http.Error(w, "closing", http.StatusServiceUnavailable)
		}
	})
}
