//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

func TestMain(m *testing.M) { testkit.Main(withServers{m}) }

// shared holds servers for tests that do not stop them.
var shared lab.Shared

// withServers ends it after the last test.
type withServers struct{ *testing.M }

func (w withServers) Run() int {
	defer shared.End()
	return w.M.Run()
}

// combination of a broker and a backend.
type combination struct{ broker, backend string }

func (c combination) String() string { return c.broker + " and " + c.backend }

// combinations are those of the scene that this began with.
var combinations = []combination{{"amqp", "redis"}, {"redis", "redis"}, {"amqp", "rpc"}, {"redis", "rpc"}}

// onRedis are those without RabbitMQ.
var onRedis = []combination{{"redis", "redis"}, {"redis", "rpc"}}

// place is the environment of a test: a separate Redis, a virtual host of a RabbitMQ, and
// proxies in front of them for the client alone.
type place struct {
	t          *testing.T
	ctx        context.Context
	redis      *lab.Redis
	rabbit     *lab.RabbitMQ // nil without AMQP
	redisProxy *celerytest.Proxy
	amqpProxy  *celerytest.Proxy
	direct     bool // the client goes through no proxy
}

func newPlace(t *testing.T, c combination) *place {
	t.Helper()
	p := newPlaceOn(t, lab.StartRedis(t))
	if c.broker == "amqp" {
		p.setRabbit(shared.RabbitMQ(t))
	}
	return p
}

// newOwnPlace returns a place for tests that stop RabbitMQ.
func newOwnPlace(t *testing.T, c combination) *place {
	t.Helper()
	p := newPlaceOn(t, lab.StartRedis(t))
	if c.broker == "amqp" {
		p.setRabbit(lab.StartRabbitMQ(t))
	}
	return p
}

// newPlaceOn has no RabbitMQ.
func newPlaceOn(t *testing.T, redis *lab.Redis) *place {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	p := &place{t: t, ctx: ctx, redis: redis}
	p.redisProxy = celerytest.NewProxy(t, p.redis.Addr)
	return p
}

func (p *place) setRabbit(r *lab.RabbitMQ) {
	p.t.Helper()
	p.rabbit, p.amqpProxy = r, celerytest.NewProxy(p.t, r.Addr)
}

// cut breaks all connections of the client.
func (p *place) cut() {
	p.redisProxy.Cut()
	if p.amqpProxy != nil {
		p.amqpProxy.Cut()
	}
}

func (p *place) amqpServer() celeryamqp.Server {
	if p.direct {
		return celeryamqp.Server{URL: p.rabbit.URL()}
	}
	return celeryamqp.Server{URL: p.rabbit.URLAt(p.amqpProxy.Addr(), "guest:guest")}
}

func (p *place) redisServer(db int) celeryredis.Server {
	if p.direct {
		return celeryredis.Server{URL: p.redis.URL(db)}
	}
	return celeryredis.Server{URL: fmt.Sprintf("redis://%s/%d", p.redisProxy.Addr(), db)}
}

// resultDB keeps results apart from tasks.
const resultDB = 2

func (p *place) openBroker(c combination) celery.Broker {
	p.t.Helper()
	if c.broker == "amqp" {
		broker, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: p.amqpServer()})
		return opened(p.t, broker, err)
	}
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: p.redisServer(0)})
	return opened(p.t, broker, err)
}

func (p *place) openBackend(c combination) celery.Backend {
	p.t.Helper()
	switch {
	case c.backend == "redis":
		backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: p.redisServer(resultDB)})
		return opened(p.t, backend, err)
	case c.broker == "amqp":
		backend, err := celeryamqp.OpenBackend(celeryamqp.BackendSettings{Server: p.amqpServer()})
		return opened(p.t, backend, err)
	}
	replies, err := celeryredis.OpenReplies(celeryredis.RepliesSettings{Server: p.redisServer(0)})
	return opened(p.t, replies, err)
}

// opened closes something at the end of the test, before the servers end.
func opened[T interface{ Close() error }](t *testing.T, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := value.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return value
}

// urls of broker and backend as a worker takes them.
func (p *place) urls(c combination) (broker, backend string) {
	broker, backend = p.redis.URL(0), p.redis.URL(resultDB)
	if c.broker == "amqp" {
		broker = p.rabbit.URL()
	}
	if c.backend == "rpc" {
		backend = "rpc://"
	}
	return broker, backend
}

func (p *place) startWorker(c combination, o lab.WorkerOptions) *lab.Worker {
	p.t.Helper()
	o.Broker, o.Backend = p.urls(c)
	return lab.StartWorker(p.t, o)
}

// explain logs the location of misplaced tasks and results.
func (p *place) explain(worker *lab.Worker) string {
	stored, err := p.redis.Client(p.t, resultDB).DBSize(p.ctx).Result()
	text := fmt.Sprintf("%d results in Redis, %v", stored, err)
	clients, err := p.redis.Client(p.t, resultDB).ClientList(p.ctx).Result()
	text += fmt.Sprintf("\nits clients, %v:\n%s", err, clients)
	if p.rabbit != nil {
		queue, err := p.rabbit.Channel(p.t).QueueDeclarePassive("celery", true, false, false, false, nil)
		text += fmt.Sprintf("\nqueue: %+v, %v, RabbitMQ says:\n%s", queue, err, p.rabbit.Log())
	}
	return text + "\nthe worker says:\n" + worker.Log()
}

// bench is a client with a worker behind it.
type bench struct {
	*place
	combination
	broker  celery.Broker
	backend celery.Backend
	client  *celery.Client
	worker  *lab.Worker
}

func newBench(t *testing.T, c combination, o lab.WorkerOptions, s celery.Settings) *bench {
	t.Helper()
	return benchAt(newPlace(t, c), c, o, s)
}

// newDirectBench is for measuring: no proxy takes part.
func newDirectBench(t *testing.T, c combination, o lab.WorkerOptions) *bench {
	t.Helper()
	p := newPlace(t, c)
	p.direct = true
	return benchAt(p, c, o, celery.Settings{})
}

func benchAt(p *place, c combination, o lab.WorkerOptions, s celery.Settings) *bench {
	p.t.Helper()
	b := &bench{place: p, combination: c, broker: p.openBroker(c), backend: p.openBackend(c), worker: p.startWorker(c, o)}
	b.client = celery.NewClient(b.broker, b.backend, s)
	p.t.Cleanup(func() {
		if err := b.client.Close(context.WithoutCancel(p.ctx)); err != nil && !errors.Is(err, celery.ErrUnavailable) {
			p.t.Errorf("closing the client: %v", err)
		}
	})
	return b
}

// run calls a task by its name and waits for its result.
func (b *bench) run(name string, args ...any) (celery.Result, error) {
	return b.call(celery.Task{Name: name, Args: args}, nil)
}

func (b *bench) call(task celery.Task, progress func(celery.Result)) (celery.Result, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	return b.client.Run(ctx, task, progress)
}

// trace is a file that tasks leave traces in.
func (b *bench) trace() (path string, read func() string) {
	path = b.t.TempDir() + "/trace"
	return path, func() string {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			b.t.Error(err)
		}
		return string(data)
	}
}

// eventually waits until a condition holds. Servers take long to restart.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !testkit.Poll(time.Minute, holds) {
		t.Fatalf("did not happen within a minute: %s", what)
	}
}

// many runs f in so many goroutines and waits for them.
func many(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
