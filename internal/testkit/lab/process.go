//go:build unix

// Package lab starts real servers for tests: Redis, RabbitMQ and Celery workers,
// each on free ports of the loopback interface, with data in folders of the test.
// It uses the programs that `.ci/celery` has installed.
package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// startTimeout is the time limit for the start of a server. RabbitMQ needs
// seconds, and more on a busy machine.
const startTimeout = 90 * time.Second

// server is a server that a test can stop and start again. Errors fail its owner.
type server struct {
	*services.Server
	t Owner
}

// started returns a server that ends with its owner.
func started(t Owner, s *services.Server, err error) *server {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (has .ci/celery been run?)", err)
	}
	t.Cleanup(s.Kill)
	return &server{s, t}
}

// starting bounds the start of a server.
func starting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), startTimeout)
}

// Stop ends the server in order.
func (s *server) Stop() {
	s.t.Helper()
	if err := s.Server.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts the server again after Kill or Stop.
func (s *server) Restart() {
	s.t.Helper()
	ctx, cancel := starting()
	defer cancel()
	if err := s.Server.Restart(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// address returns an address of the loopback interface that is reserved until the
// test ends.
func address(t Owner) string {
	t.Helper()
	var ports services.Ports
	addr, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	return addr
}

// Port returns a port of the loopback interface that is reserved until the test
// ends.
func Port(t Owner) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// errNotYet means that the server runs and cannot be used yet.
var errNotYet = errors.New("not yet")

// folder returns the data folder of a server.
func folder(t Owner, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
