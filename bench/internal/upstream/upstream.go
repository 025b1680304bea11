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
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
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
}

// Route is the answer of one path prefix.
type Route struct {
	Service time.Duration // time that the worker computes before it answers
	Size    int           // bytes of the answer
	Events  int           // number of time stamped events that are sent instead
	Every   time.Duration // between two events
}

// Ready is the line that a started upstream writes to its standard output.
type Ready struct {
	Addr    string // address of the upstream
	Control string // address of its counters
}

// Serve reads a Config from in, serves it on free loopback ports, writes a Ready
// line to out, and returns when in ends: the upstream lives until the process that
// started it closes the pipe.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	input := json.NewDecoder(in)
	var config Config
	if err := input.Decode(&config); err != nil {
		return fmt.Errorf("reading config: %w", err)
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	control, err := listen()
	if err != nil {
		return err
	}
	workers := newWorkers(config)
	failed := make(chan error, 2) // one place for each server
	go func() { failed <- serveConfig(config, workers, listener) }()
	go func() { failed <- http.Serve(control, http.HandlerFunc(workers.serveStats)) }()
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
		return nil
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	}
}

func listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return listener, nil
}

func serveConfig(config Config, workers *workers, listener net.Listener) error {
	if config.Bare {
		return serveBare(listener)
	}
	server := http.Server{Handler: workers, ReadHeaderTimeout: time.Minute}
	if config.SendBuffer > 0 {
		server.ConnState = func(conn net.Conn, state http.ConnState) {
			if tcp, isTCP := conn.(*net.TCPConn); isTCP && state == http.StateNew {
				// A closed socket has no data to send.
				_ = tcp.SetWriteBuffer(config.SendBuffer)
			}
		}
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
