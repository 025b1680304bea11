// Package redistest provides tools for tests of Redis clients: a Redis server in the test's
// process with faults to order, and the Redis side of a Celery worker, for that server or a
// real one.
package redistest

import (
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
)

// Server is miniredis behind a proxy. Tests read and write data with the methods of miniredis.
// What it lacks is added here: errors and hooks for single commands, which run before their
// execution, and faults of the network, which the proxy injects.
type Server struct {
	*miniredis.Miniredis

	proxy *celerytest.Proxy

	mu     sync.Mutex
	counts map[string]int    // calls by command, guarded by mu
	denied map[string]string // error by command, guarded by mu
	before map[string]func() // next call's hook by command, guarded by mu
}

// NewServer starts a server that ends with the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	s := &Server{
		Miniredis: miniredis.RunT(t),
		counts:    make(map[string]int),
		denied:    make(map[string]string),
		before:    make(map[string]func()),
	}
	s.Miniredis.Server().SetPreHook(s.intercept)
	s.proxy = celerytest.NewProxy(t, s.Miniredis.Addr())
	return s
}

// Addr returns the address of the proxy in front of the server.
func (s *Server) Addr() string { return s.proxy.Addr() }

// URL returns the address as a URL.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// DropConnections cuts all connections.
func (s *Server) DropConnections() { s.proxy.Cut() }

// Stall makes the server accept connections and not reply, as a firewall that drops packets
// does. False ends that.
func (s *Server) Stall(stall bool) { s.proxy.Stall(stall) }

// Stalled returns the number of connections on which a stall holds data back.
func (s *Server) Stalled() int { return s.proxy.Stalled() }

// Deny makes a command return an error reply from now on. An empty error ends that.
func (s *Server) Deny(command, err string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[command] = err
}

// Before calls hook once, before the next execution of a command.
func (s *Server) Before(command string, hook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[command] = hook
}

// Count returns how often a command was called.
func (s *Server) Count(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[command]
}

// Subscribed reports whether a client has subscribed to a channel by name.
func (s *Server) Subscribed(channel string) bool {
	return s.PubSubNumSub(channel)[channel] > 0
}

// List returns the elements of a list, the newest first. An absent list has none.
func (s *Server) List(key string) []string {
	list, _ := s.Miniredis.List(key) // any error is that the key holds no list
	return list
}

// intercept runs before each command, without a lock of miniredis. It returns true if the
// command must not be executed.
func (s *Server) intercept(peer *server.Peer, command string, _ ...string) bool {
	s.mu.Lock()
	s.counts[command]++
	denied, hook := s.denied[command], s.before[command]
	delete(s.before, command)
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	if denied != "" {
		peer.WriteError(denied)
	}
	return denied != ""
}
