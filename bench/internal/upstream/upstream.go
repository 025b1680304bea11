// Package upstream is the backend of the scenarios: a server of synchronous
// workers that slows down when too many requests are inside, and a bare responder
// that needs very little CPU.
//
// It is not a realistic application; each of its flaws is a number in its Config.
// Serve runs it in a separate process and ends with its standard input.
package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
)

// Config describes one upstream.
type Config struct {
	Bare    bool    // answer immediately with the number of bytes in the last path segment; ignores the other fields
	Workers int     // requests that are served at the same time; 0: all
	Backlog int     // further requests that may wait for a worker; beyond, they get 503
	Thrash  float64 // share by which each request inside beyond Workers prolongs the service
	Routes  map[string]Route

	// SendBuffer limits the part of an answer that the kernel buffers before the
	// worker has to wait for its client; 0 leaves it to the kernel, which buffers
	// megabytes on loopback.
	SendBuffer int

	Addr    string // address to serve on, for one that comes back: FreeAddr; empty: a free one
	Journal string // file for the entries of its runs; empty: none
	Health  string // path of health checks, which are no runs; empty: none
}

// Route is the answer of one path prefix.
type Route struct {
	Service time.Duration // time that the worker computes before it answers
	Jitter  time.Duration // by which the service is shorter or longer, at most
	Size    int           // bytes of the answer
	Events  int           // number of time stamped events that are sent instead
	Every   time.Duration // before each event
	Hold    time.Duration // after the last event, before the answer ends
}

// Ready is the line that a started upstream writes to its standard output.
type Ready struct {
	Addr    string // address of the upstream
	Control string // address of its counters
}

// finishTime is the longest time for the runs of an upstream that has got the signal to end.
const finishTime = 5 * time.Second

// Serve reads a Config from in, serves it on loopback ports, writes a Ready line to out, and
// returns when in ends: the upstream lives until the process that started it closes the
// pipe. When the context ends, it takes no new connections and finishes its runs first.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	input := json.NewDecoder(in)
	var config Config
	if err := input.Decode(&config); err != nil {
		return fmt.Errorf("reading config: %w", err)
	}
	workers := newWorkers(config)
	if config.Journal != "" {
		var err error
		if workers.journal, err = journal.Open(config.Journal); err != nil {
			return err
		}
		defer func() { _ = workers.journal.Close() }() // each entry is written at once
	}
	listener, err := listen(config.Addr)
	if err != nil {
		return err
	}
	control, err := listen("")
	if err != nil {
		return err
	}
	server := newServer(config, workers)
	workers.journal.Note(journal.Serves, 0)
	failed := make(chan error, 2) // one place for each server
	go func() { failed <- serveConfig(config, server, listener) }()
	go func() { failed <- http.Serve(control, workers.control()) }()
	ready := Ready{Addr: listener.Addr().String(), Control: control.Addr().String()}
	if err := json.NewEncoder(out).Encode(ready); err != nil {
		return fmt.Errorf("announcing address: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Any end of the pipe ends the upstream, also an error.
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return finish(server)
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	}
}

// finish lets the runs of a server end.
func finish(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("finishing runs: %w", err)
	}
	return nil
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return listener, nil
}

func serveConfig(config Config, server *http.Server, listener net.Listener) error {
	if config.Bare {
		return serveBare(listener)
	}
	return server.Serve(listener)
}

func newServer(config Config, workers *workers) *http.Server {
	server := &http.Server{Handler: workers, ReadHeaderTimeout: time.Minute}
	if config.SendBuffer > 0 {
		server.ConnState = func(conn net.Conn, state http.ConnState) {
			if tcp, isTCP := conn.(*net.TCPConn); isTCP && state == http.StateNew {
				// A closed socket has no data to send.
				_ = tcp.SetWriteBuffer(config.SendBuffer)
			}
		}
	}
	return server
}
