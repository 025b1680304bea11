package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/load"
)

// blockFor is the time that a factorial blocks its worker: 500 of them then
// take about as long as the scene of the slow upstream. 100 waiting ones take
// less than half of a client's patience; the rest is a margin for a busy
// machine.
const blockFor = 24 * time.Millisecond

// The permits of the two pools in the root Caddyfile.
const (
	factorialPermits = 1
	slowPermits      = 8
)

// slowService is the service time of the slow upstream.
const slowService = 200 * time.Millisecond

// factorialScene finds the number whose factorial takes about blockFor on this
// machine, by requests to an idle worker.
func factorialScene(ctx context.Context, a addresses) (*scene, error) {
	s := &scene{
		key:     "factorial",
		backend: newFactorial,
		addr:    a.factorial,
		fast:    a.base() + "/ping",
		permits: factorialPermits,
	}
	return s, s.measured(ctx, func(c *load.Client) error {
		for n := 10_000; n <= 100_000; n += 5_000 {
			path := fmt.Sprintf("/factorial/%d", n)
			larger := *s
			larger.title = fmt.Sprintf("factorial worker (%d!)", n)
			larger.blocking = a.base() + path
			if err := larger.measure(ctx, c, path); err != nil {
				return err
			}
			if larger.service > blockFor && s.service > 0 {
				return nil
			}
			*s = larger
		}
		return nil
	})
}

// slowScene uses the service time that the upstream is configured with.
func slowScene(ctx context.Context, a addresses) (*scene, error) {
	path := fmt.Sprintf("/report?delay=%s", slowService)
	s := &scene{
		key:      "slowupstream",
		title:    "slow upstream",
		backend:  newSlow,
		addr:     a.slow,
		blocking: a.base() + "/slow" + path,
		fast:     a.base() + "/slow/ping",
		permits:  slowPermits,
	}
	return s, s.measured(ctx, func(c *load.Client) error {
		err := s.measure(ctx, c, path)
		s.service = slowService
		return err
	})
}

// measured calls measure while the scene's backend runs.
func (s *scene) measured(ctx context.Context, measure func(*load.Client) error) error {
	srv, err := start(ctx, s.backend, s.addr)
	if err != nil {
		return err
	}
	c := load.NewClient(time.Minute)
	defer c.Close()
	return errors.Join(measure(c), srv.stop())
}

// measure sends a few requests to the idle backend and stores the answer. The
// service time is the shortest of these times: the machine caused the
// additional time of the others, and no run should be faster than the ideal.
func (s *scene) measure(ctx context.Context, c *load.Client, path string) error {
	url := "http://" + s.addr + path
	s.service = time.Hour
	for range 7 {
		began := time.Now()
		got, kind, err := c.Get(ctx, url)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", s.title, err)
		}
		if kind != load.Done {
			return fmt.Errorf("measuring %s: %s", s.title, kind)
		}
		s.want = got
		s.service = min(s.service, time.Since(began))
	}
	return nil
}
