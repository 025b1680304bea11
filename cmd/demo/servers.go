package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/caddy-offload/caddy-offload/examples/factorial/worker"
	"github.com/caddy-offload/caddy-offload/examples/slowupstream/upstream"
	"github.com/caddy-offload/caddy-offload/internal/services"
)

// backend is one of the example services.
type backend interface {
	Serve(ctx context.Context, ln net.Listener) error
}

func newFactorial() backend { return worker.New() }

func newSlow() backend { return upstream.New(upstream.Options{}) }

// server is a backend that serves until it is stopped.
type server struct {
	cancel context.CancelFunc
	served chan error
}

// start serves b on addr.
func start(ctx context.Context, b func() backend, addr string) (*server, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting an upstream: %w", err)
	}
	// An interrupt does not stop a server; its owner does, so that the parts
	// always end in the same order.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &server{cancel: cancel, served: make(chan error, 1)}
	go func() { s.served <- b().Serve(ctx, ln) }()
	return s, nil
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	s.cancel()
	return <-s.served
}

// servers are several servers.
type servers []*server

func (all servers) stop() error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}

// addresses are the addresses of all servers. The names of the environment
// variables are those in the Caddyfiles.
type addresses struct {
	caddy, admin, factorial, slow string
}

// chooseAddresses uses the addresses of the environment. The others are free
// ports, or the defaults of the Caddyfiles. It sets all of them in the
// environment, where the Caddyfiles read them.
func chooseAddresses(free bool) (addresses, error) {
	var a addresses
	var ports services.Ports
	defer ports.Release()
	for _, one := range []struct {
		to             *string
		name, fallback string
	}{
		{&a.caddy, "OFFLOAD_ADDR", ":8080"},
		{&a.admin, "OFFLOAD_ADMIN", "localhost:2019"},
		{&a.factorial, "FACTORIAL_UPSTREAM", "127.0.0.1:9001"},
		{&a.slow, "SLOW_UPSTREAM", "127.0.0.1:9002"},
	} {
		addr, given := os.LookupEnv(one.name)
		if !given {
			addr = one.fallback
		}
		if !given && free {
			var err error
			if addr, err = take(&ports, one.fallback); err != nil {
				return a, err
			}
		}
		if err := os.Setenv(one.name, addr); err != nil {
			return a, fmt.Errorf("setting %s: %w", one.name, err)
		}
		*one.to = addr
	}
	return a, nil
}

// take returns a free address, or only its port if the model has only a port.
func take(ports *services.Ports, model string) (string, error) {
	addr, err := ports.Take()
	if strings.HasPrefix(model, ":") {
		addr = strings.TrimPrefix(addr, services.Loopback)
	}
	return addr, err
}

// place is an upstream and its address.
type place struct {
	example string
	backend func() backend
	addr    string
}

// upstreams are the upstreams of the root Caddyfile.
func (a addresses) upstreams() []place {
	return []place{
		{"factorial", newFactorial, a.factorial},
		{"slowupstream", newSlow, a.slow},
	}
}

// base is the URL of Caddy.
func (a addresses) base() string {
	if strings.HasPrefix(a.caddy, ":") {
		return "http://" + services.Loopback + a.caddy
	}
	return "http://" + a.caddy
}
