package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
	"github.com/caddy-offload/caddy-offload/internal/services"
)

// startServers starts those servers that the settings need.
func (s *stack) startServers(ctx context.Context, o settings, a addresses) (err error) {
	if s.env, err = a.environment(o); err != nil {
		return err
	}
	if o.broker == "redis" || o.backend == "redis" {
		redis, err := services.Redis(ctx, a.redis, s.folder)
		if err != nil {
			return err
		}
		s.stops = append(s.stops, redis.Stop)
	}
	if o.broker == "rabbitmq" {
		rabbit, err := services.StartRabbitMQ(ctx, a.rabbitmq, s.folder)
		if err != nil {
			return err
		}
		s.stops = append(s.stops, rabbit.Close)
	}
	return nil
}

// startWorker starts a worker with four processes and waits until it listens.
func (s *stack) startWorker(ctx context.Context) error {
	celery := filepath.Join(s.python, "celery")
	return s.startProgram(ctx, program{
		Program: services.Program{
			Name: "the worker",
			Args: []string{celery, "--app", "tasks", "worker", "--concurrency", "4", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"},
		},
		ready: func(ctx context.Context) error {
			ping := exec.CommandContext(ctx, celery, "--app", "tasks", "inspect", "ping", "--timeout", "0.5")
			ping.Dir, ping.Env = s.example, append(os.Environ(), s.env...)
			return ping.Run()
		},
	})
}

// startUpstream starts the upstream that the Sanic service calls.
func (s *stack) startUpstream(ctx context.Context, addr string) error {
	return s.startProgram(ctx, program{
		Program: services.Program{Name: "the upstream", Args: []string{filepath.Join(s.python, "python"), "upstream.py"}},
		ready:   answers("http://" + addr + "/"),
	})
}

func (s *stack) startCaddy(ctx context.Context) error {
	return s.startProgram(ctx, program{
		Program: services.Program{
			Name: "Caddy",
			Args: []string{s.in("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"},
			// Caddy's data and saved configuration must not replace those of the user.
			Env: []string{"XDG_DATA_HOME=" + s.in("data"), "XDG_CONFIG_HOME=" + s.in("config")},
		},
		// It answers when all of the configuration runs. Listeners are open before that.
		ready: answers("http://" + s.admin + "/config/"),
	})
}

// startService starts the Sanic service. It is not asked to end, since its event
// loop may hang: stop ends it as it is.
func (s *stack) startService(ctx context.Context) (stop func(), err error) {
	p, err := s.run(services.Program{Name: "the service", Args: []string{filepath.Join(s.python, "python"), "app.py"}})
	if err != nil {
		return nil, err
	}
	if err := p.Until(ctx, answers("http://"+s.sanic+"/ping")); err != nil {
		p.Kill()
		return nil, err
	}
	return p.Kill, nil
}

// program is a program that runs until the stack ends.
type program struct {
	services.Program
	ready func(context.Context) error
}

func (s *stack) startProgram(ctx context.Context, p program) error {
	running, err := s.run(p.Program)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, running.Stop)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return running.Until(ctx, p.ready)
}

// run starts a program of the example in its folder, with the environment that
// all of them share.
func (s *stack) run(p services.Program) (*services.Process, error) {
	p.Dir = s.example
	p.Env = append(p.Env, s.env...)
	p.Log = s.in(filepath.Base(p.Args[0]) + "-" + filepath.Base(p.Args[len(p.Args)-1]) + ".log")
	return services.Start(p)
}

// answers tries a URL.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		c := load.NewClient(time.Second)
		defer c.Close()
		if kind := c.Fetch(ctx, url, load.Digest{}); kind != load.Done {
			return fmt.Errorf("asking %s: %s", url, kind)
		}
		return nil
	}
}
