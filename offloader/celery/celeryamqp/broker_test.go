package celeryamqp_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
)

// at is the server at an address.
func at(addr string) celeryamqp.Server {
	return celeryamqp.Server{URL: "amqp://guest:guest@" + addr}
}

// lab is a client on a fake server, with a proxy in between and a worker.
type lab struct {
	t       *testing.T
	ctx     context.Context
	server  *amqptest.Server
	proxy   *celerytest.Proxy
	broker  *celeryamqp.Broker
	backend *celeryamqp.Backend
	system  *amqptest.System
	client  *celery.Client
}

func newLab(t *testing.T, s celeryamqp.BackendSettings) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	server := amqptest.NewServer(t)
	proxy := celerytest.NewProxy(t, server.Addr())
	s.URL = at(proxy.Addr()).URL
	broker, backend := openBroker(t, celeryamqp.BrokerSettings{Server: s.Server}), openBackend(t, s)
	system := amqptest.NewSystem(t, amqptest.Options{URL: server.URL(), Broker: broker, Backend: backend, Interrupt: proxy.Cut})
	return &lab{t, ctx, server, proxy, broker, backend, system, celery.NewClient(broker, backend, celery.Settings{})}
}

func (l *lab) start() (*celery.Call, *celery.Message) {
	l.t.Helper()
	call, err := l.client.Start(l.ctx, celery.Task{Name: "lab.echo"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(call.Close)
	m, err := l.system.Take(l.ctx, celery.DefaultQueue)
	if err != nil {
		l.t.Fatal(err)
	}
	return call, m
}

func (l *lab) succeed(m *celery.Message, value string) {
	l.t.Helper()
	if err := l.system.Report(l.ctx, m, celerytest.Succeed(m, value)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) wantEnd(call *celery.Call, value string, want error) {
	l.t.Helper()
	if result, err := call.Wait(l.ctx, nil); !errors.Is(err, want) || err == nil && string(result.Value) != value {
		l.t.Errorf("%s %v, want %s %v", result.Value, err, value, want)
	}
}

func (l *lab) send(want error) {
	l.t.Helper()
	if _, err := l.client.Send(l.ctx, celery.Task{Name: "lab.echo"}); !errors.Is(err, want) {
		l.t.Errorf("sending: %v, want %v", err, want)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	expires := time.Now().Add(time.Hour)
	call, err := l.client.Start(l.ctx, celery.Task{
		Name: "lab.echo", Priority: new(7), Expires: expires, HardLimit: 1500 * time.Millisecond, SoftLimit: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	m, err := l.system.Take(l.ctx, celery.DefaultQueue)
	if err != nil {
		t.Fatal(err)
	}
	limits, _ := m.Headers["timelimit"].([]any)
	if *m.Priority != 7 || !m.Persistent || m.ReplyTo != l.backend.ReplyTo() || len(limits) != 2 || limits[0] != 1.5 || limits[1] != int64(1) {
		t.Errorf("message: %+v, priority %d", m, *m.Priority)
	}
	if parent, there := m.Headers["parent_id"]; parent != nil || !there || m.Headers["retries"] != int64(0) {
		t.Errorf("headers: %v", m.Headers)
	}
}

func TestTasksThatTheBrokerDoesNotTake(t *testing.T) {
	t.Parallel()
	t.Run("the queue is absent", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryamqp.BackendSettings{})
		l.start() // so there is a queue for replies
		l.server.RemoveQueue("celery")
		l.send(celery.ErrUnroutable)
		if _, err := l.broker.Queue(l.ctx, "celery"); !errors.Is(err, celery.ErrUnroutable) {
			t.Error(err)
		}
		testkit.Eventually(t, func() bool { // it is of use after that; the backend may still be connecting
			_, err := l.broker.Queue(l.ctx, l.backend.ReplyTo())
			return err == nil
		})
	})
	t.Run("of many, only those for an absent queue fail", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryamqp.BackendSettings{})
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				queue, want := "celery", error(nil)
				if i%3 == 0 {
					queue, want = "absent", celery.ErrUnroutable
				}
				if _, err := l.client.Send(l.ctx, celery.Task{Name: "a", Queue: queue}); !errors.Is(err, want) {
					t.Errorf("to %s: %v", queue, err)
				}
			})
		}
		all.Wait()
		if state, err := l.broker.Queue(l.ctx, "celery"); err != nil || state.Ready != 133 || state.Consumers != 0 {
			t.Errorf("%+v %v", state, err)
		}
	})
	t.Run("it rejects the message", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryamqp.BackendSettings{})
		l.server.SetRefusing(true)
		l.send(celery.ErrUnavailable)
	})
	t.Run("it is short of memory", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryamqp.BackendSettings{})
		l.send(nil)
		l.server.SetBlocked("low on memory")
		testkit.Eventually(t, func() bool {
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			return errors.Is(err, celery.ErrUnavailable) && strings.Contains(err.Error(), "low on memory")
		})
		l.server.SetBlocked("")
		testkit.Eventually(t, func() bool {
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			return err == nil
		})
	})
	t.Run("it does not confirm", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, celeryamqp.BackendSettings{})
		l.send(nil) // which waits for the connection
		l.server.SetSilent(true)
		ctx, cancel := context.WithTimeout(l.ctx, 2*time.Second)
		defer cancel()
		_, err := l.client.Send(ctx, celery.Task{Name: "a"})
		if !errors.Is(err, celery.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			failed <- err
		}()
		testkit.Eventually(t, func() bool { state, err := l.broker.Queue(l.ctx, "celery"); return err == nil && state.Ready == 3 })
		l.proxy.Cut()
		if err := <-failed; !errors.Is(err, celery.ErrUnconfirmed) {
			t.Error(err)
		}
	})
	t.Run("it is away", func(t *testing.T) {
		t.Parallel()
		const wait = 5 * time.Second
		l := newLab(t, celeryamqp.BackendSettings{Server: celeryamqp.Server{Timeout: wait}})
		testkit.Eventually(t, func() bool { // a busy machine may need more than one attempt
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			return err == nil
		})
		l.proxy.Refuse(true)
		testkit.Eventually(t, func() bool { // a message before the loss is detected is unconfirmed; after that, calls wait
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			return errors.Is(err, celery.ErrUnavailable)
		})
		began := time.Now()
		for range 5 {
			l.send(celery.ErrUnavailable)
		}
		if took := time.Since(began); took >= wait {
			t.Errorf("five calls waited %s for a server that is long gone", took)
		}
		if err := l.broker.Follow(l.ctx, func([]byte) {}); !errors.Is(err, celery.ErrUnavailable) {
			t.Error(err)
		}
		l.proxy.Refuse(false)
		testkit.Eventually(t, func() bool {
			_, err := l.client.Send(l.ctx, celery.Task{Name: "a"})
			return err == nil
		})
	})
}

func TestTasksForAnotherExchange(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	broker := openBroker(t, celeryamqp.BrokerSettings{Server: at(l.server.Addr()), Exchange: "topics"})
	client := celery.NewClient(broker, nil, celery.Settings{})
	if _, err := client.Send(l.ctx, celery.Task{Name: "a"}); !errors.Is(err, celery.ErrUnroutable) {
		t.Errorf("without a binding: %v", err)
	}
	conn, err := amqp.Dial(l.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.QueueBind("celery", "celery", "topics", false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Send(l.ctx, celery.Task{Name: "a"}); err != nil {
		t.Error(err)
	}
}

func TestSeveralServersAreTriedInTurn(t *testing.T) {
	t.Parallel()
	server := amqptest.NewServer(t)
	url := "amqp://guest:guest@127.0.0.1:1//;pyamqp://guest:guest@" + server.Addr() + "//"
	broker := openBroker(t, celeryamqp.BrokerSettings{Server: celeryamqp.Server{URL: url}})
	if _, err := broker.Queue(t.Context(), "celery"); !errors.Is(err, celery.ErrUnroutable) {
		t.Error(err)
	}
}

func TestURLsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "redis://h", "amqp://user:se%cret@h", "amqp://h;http://h", "amqp://h:port"} {
		_, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: celeryamqp.Server{URL: url}})
		if err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", url, err)
		}
		if _, err := celeryamqp.OpenBackend(celeryamqp.BackendSettings{Server: celeryamqp.Server{URL: url}}); err == nil {
			t.Errorf("a backend at %s", url)
		}
	}
}

func TestClosedBrokers(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	l.send(nil)
	for range 2 {
		if err := l.broker.Close(); err != nil {
			t.Error(err)
		}
	}
	l.send(celery.ErrClosed)
	if _, err := l.broker.Broadcast(l.ctx, celery.Command{Method: "ping"}); !errors.Is(err, celery.ErrClosed) {
		t.Error(err)
	}
	if err := l.broker.Ask(l.ctx, celery.Command{Method: "ping"}, func([]byte) bool { return true }); !errors.Is(err, celery.ErrClosed) {
		t.Error(err)
	}
	if _, err := l.broker.Queue(l.ctx, "celery"); !errors.Is(err, celery.ErrClosed) {
		t.Error(err)
	}
	never := openBroker(t, celeryamqp.BrokerSettings{Server: at("127.0.0.1:1")})
	waiting := make(chan error, 1)
	go func() { waiting <- never.Publish(l.ctx, &celery.Message{}) }()
	if err := never.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, celery.ErrClosed) && !errors.Is(err, celery.ErrUnavailable) {
		t.Error(err)
	}
}

func TestCommandsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	l := newLab(t, celeryamqp.BackendSettings{})
	bad := celery.Command{Method: "x", Arguments: map[string]any{"a": make(chan int)}}
	if _, err := l.broker.Broadcast(l.ctx, bad); err == nil {
		t.Error("it was sent")
	}
	if err := l.broker.Ask(l.ctx, bad, func([]byte) bool { return true }); err == nil {
		t.Error("it was sent")
	}
}
