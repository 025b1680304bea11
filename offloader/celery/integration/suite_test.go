//go:build integration

package integration

import (
	"context"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// mixed is a system with one server for tasks and another one for results.
type mixed struct {
	celerytest.System
	results celerytest.System
}

func (m mixed) Report(ctx context.Context, task *celery.Message, payload []byte) error {
	return m.results.Report(ctx, task, payload)
}

// The suite that the fakes pass, against the servers themselves.
func TestServersPassTheSuite(t *testing.T) {
	t.Parallel()
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, c)
			celerytest.Run(t, func(t *testing.T) celerytest.System { return p.system(t, c) })
		})
	}
}

func TestValkeyPassesTheSuite(t *testing.T) {
	t.Parallel()
	for _, c := range onRedis {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlaceOn(t, lab.StartValkey(t))
			celerytest.Run(t, func(t *testing.T) celerytest.System { return p.system(t, c) })
		})
	}
}

// system plays the worker on one database for tasks and results: its commands
// go there too.
func (p *place) system(t *testing.T, c combination) celerytest.System {
	t.Helper()
	here := *p
	here.t = t
	if err := p.redis.Client(t, 0).FlushAll(p.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	broker, backend := here.openBroker(c), here.openBackend(c)
	url := p.redis.URL(0)
	if c.backend == "redis" {
		url = p.redis.URL(resultDB)
	}
	results := redistest.NewSystem(t, redistest.Options{URL: url, Broker: broker, Backend: backend, Interrupt: p.cut})
	switch {
	case c.broker == "amqp":
		tasks := amqptest.NewSystem(t, amqptest.Options{URL: p.rabbit.URL(), Broker: broker, Backend: backend, Interrupt: p.cut})
		if c.backend == "rpc" {
			return tasks
		}
		return mixed{tasks, results}
	case c.backend == "redis":
		tasks := redistest.NewSystem(t, redistest.Options{URL: p.redis.URL(0), Broker: broker, Backend: backend, Interrupt: p.cut})
		return mixed{tasks, results}
	}
	return results
}
