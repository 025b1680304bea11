package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/caddy-offload/caddy-offload/internal/load"
	"github.com/caddy-offload/caddy-offload/internal/repository"
	"github.com/caddy-offload/caddy-offload/internal/services"
)

// settings select the servers to start.
type settings struct {
	broker, backend string
	requirements    string // file, relative to the example
	bystander       string // path that is requested at the same time as those of the crowd
}

// stack is everything that runs: the servers of Celery, its worker, the services and
// Caddy.
type stack struct {
	progress *load.Progress

	bystander string // path that is requested at the same time as those of the crowd
	folder    string // for the files of the servers
	example   string // folder of the example
	python    string // folder of Python's commands
	env       []string
	caddy     string // where Caddy listens
	admin     string // where its admin endpoint listens
	sanic     string // where the service listens
	stops     []func() error
}

// startStack starts everything but the service, which is a new one for each run.
func startStack(ctx context.Context, o settings, p *load.Progress) (s *stack, err error) {
	root, err := repository.Root()
	if err != nil {
		return nil, err
	}
	s = &stack{progress: p, bystander: o.bystander, example: filepath.Join(root, "examples", "celery")}
	if s.folder, err = os.MkdirTemp("", "caddy-offload-celery-"); err != nil {
		return nil, fmt.Errorf("making a folder for the servers: %w", err)
	}
	s.stops = append(s.stops, func() error { return os.RemoveAll(s.folder) })
	if err := s.start(ctx, o, root); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// start starts one after the other.
func (s *stack) start(ctx context.Context, o settings, root string) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	s.progress.Say("Preparing the Python packages of %s ...", o.requirements)
	if s.python, err = services.PythonCommands(ctx, filepath.Join(s.example, o.requirements)); err != nil {
		return err
	}
	s.progress.Say("Building Caddy ...")
	build := exec.CommandContext(ctx, "go", "build", "-o", s.in("caddy"), "./cmd/caddy")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	var ports services.Ports
	s.stops = append(s.stops, func() error { ports.Release(); return nil })
	a, err := takeAddresses(&ports)
	if err != nil {
		return err
	}
	s.caddy, s.admin, s.sanic = a.caddy, a.admin, a.sanic
	s.progress.Say("Starting %s, results by %s, a worker and Caddy ...", o.broker, o.backend)
	if err := s.startServers(ctx, o, a); err != nil {
		return err
	}
	if err := s.startWorker(ctx); err != nil {
		return err
	}
	if err := s.startUpstream(ctx, a.upstream); err != nil {
		return err
	}
	return s.startCaddy(ctx)
}

// stop ends everything, the last first.
func (s *stack) stop() error {
	var errs []error
	for len(s.stops) > 0 {
		last := len(s.stops) - 1
		errs = append(errs, s.stops[last]())
		s.stops = s.stops[:last]
	}
	return errors.Join(errs...)
}

// in names a file in the folder of the servers.
func (s *stack) in(name string) string { return filepath.Join(s.folder, name) }

// addresses are those that the servers listen on.
type addresses struct {
	redis, rabbitmq, upstream, sanic, caddy, admin string
}

func takeAddresses(ports *services.Ports) (a addresses, err error) {
	for _, to := range []*string{&a.redis, &a.rabbitmq, &a.upstream, &a.sanic, &a.caddy, &a.admin} {
		if *to, err = ports.Take(); err != nil {
			return a, err
		}
	}
	return a, nil
}

// environment returns the environment variables that the Caddyfile and the Python files
// read.
func (a addresses) environment(o settings) ([]string, error) {
	_, port, err := net.SplitHostPort(a.caddy)
	if err != nil {
		return nil, err
	}
	redis := "redis://" + a.redis + "/0"
	broker, backend := redis, redis
	if o.broker == "rabbitmq" {
		broker = "amqp://guest:guest@" + a.rabbitmq + "//"
	}
	if o.backend == "rpc" {
		backend = "rpc://"
	}
	return []string{
		"CELERY_BROKER=" + broker,
		"CELERY_BACKEND=" + backend,
		"HTTP_UPSTREAM=" + a.upstream,
		"SANIC_UPSTREAM=" + a.sanic,
		"SIDECAR=" + a.caddy,
		"OFFLOAD_ADDR=:" + port,
		"OFFLOAD_ADMIN=" + a.admin,
		"PYTHONDONTWRITEBYTECODE=1",
	}, nil
}

// errUnknown is the error of a setting with an unknown value.
var errUnknown = errors.New("unknown")

// check rejects an unknown broker or backend.
func (o settings) check() error {
	if o.broker != "rabbitmq" && o.broker != "redis" {
		return fmt.Errorf("%w broker %q: there are rabbitmq and redis", errUnknown, o.broker)
	}
	if o.backend != "redis" && o.backend != "rpc" {
		return fmt.Errorf("%w backend %q: there are redis and rpc", errUnknown, o.backend)
	}
	return nil
}
