//go:build unix

// Package lab starts real servers for tests: Redis, RabbitMQ and Celery workers,
// each on free ports of the loopback, with data in folders of the test. It finds
// them where `.ci/celery` has installed them.
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

// startTimeout is how long a server may take to come up. RabbitMQ needs seconds,
// and more when the machine is busy.
const startTimeout = 90 * time.Second

// server is one that a test can take away and bring back. What goes wrong fails
// its owner.
type server struct {
	*services.Server
	t Owner
}

// started is a server that ends with its owner.
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

// Stop ends the server as its administrator would.
func (s *server) Stop() {
	s.t.Helper()
	if err := s.Server.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts it again after Kill or Stop.
func (s *server) Restart() {
	s.t.Helper()
	ctx, cancel := starting()
	defer cancel()
	if err := s.Server.Restart(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// address returns one of the loopback that nobody else gets before the test ends.
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

// Port returns a port of the loopback that nobody else gets before the test ends.
func Port(t Owner) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// errNotYet: the server runs and cannot be used yet.
var errNotYet = errors.New("not yet")

// folder of a server for its data.
func folder(t Owner, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
