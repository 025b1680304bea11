// Package upstream is the backend of the scenarios: a server of synchronous
// workers that thrashes when too many requests are inside, and a bare responder
// that costs next to nothing.
//
// It is not a realistic application; each of its flaws is a number in its
// Config. Serve runs it in a process of its own and ends with its standard
// input.
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
	Bare    bool    // answer with as many bytes as the last path segment says, at once; the rest is ignored
	Workers int     // how many requests are served at once; 0: all
	Backlog int     // how many more may wait for a worker; beyond, they get 503
	Thrash  float64 // service takes this share longer for each request inside beyond Workers
	Routes  map[string]Route

	// SendBuffer bounds what the kernel takes in of an answer before the worker
	// has to wait for its reader; 0 leaves it to the kernel, which takes megabytes
	// on a loopback.
	SendBuffer int
}

// Route is what one path prefix answers.
type Route struct {
	Service time.Duration // how long the worker computes before it answers
	Size    int           // bytes of the answer
	Events  int           // answer with so many time stamped events instead
	Every   time.Duration // between two events
}

// Ready is the line that a started upstream writes to its standard output.
type Ready struct {
	Addr    string // of the upstream
	Control string // of its counters
}

// Serve reads a Config from in, serves it on free loopback ports, writes a Ready
// line to out, and returns when in ends: the upstream lives as long as the
// process that started it keeps the pipe open.
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
		// The pipe's end is the message, however it comes.
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
				// A socket that is gone already has nothing to send.
				_ = tcp.SetWriteBuffer(config.SendBuffer)
			}
		}
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
