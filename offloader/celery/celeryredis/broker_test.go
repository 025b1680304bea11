package celeryredis_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

func brokerWith(t *testing.T, s celeryredis.BrokerSettings) *celeryredis.Broker {
	t.Helper()
	broker, err := celeryredis.OpenBroker(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return broker
}

func publish(t *testing.T, ctx context.Context, broker celery.Broker, task celery.Task) error {
	t.Helper()
	m, err := task.Encode(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return broker.Publish(ctx, m)
}

func TestPrioritiesAreTurnedRound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		priority *int
		settings celeryredis.BrokerSettings
		key      string
		sent     int
	}{
		{nil, celeryredis.BrokerSettings{}, "q", 0},
		{new(9), celeryredis.BrokerSettings{}, "q", 0},
		{new(7), celeryredis.BrokerSettings{}, "q", 2},
		{new(6), celeryredis.BrokerSettings{}, "q\x06\x163", 3},
		{new(4), celeryredis.BrokerSettings{}, "q\x06\x163", 5},
		{new(3), celeryredis.BrokerSettings{}, "q\x06\x166", 6},
		{new(0), celeryredis.BrokerSettings{}, "q\x06\x169", 9},
		{new(0), celeryredis.BrokerSettings{Separator: ":", Prefix: "app1_"}, "app1_q:9", 9},
		{new(4), celeryredis.BrokerSettings{PrioritySteps: []int{5, 0}}, "q\x06\x165", 5},
		{new(5), celeryredis.BrokerSettings{PrioritySteps: []int{5, 0}}, "q", 4},
	} {
		server := redistest.NewServer(t)
		test.settings.URL = server.URL()
		broker := brokerWith(t, test.settings)
		if err := publish(t, t.Context(), broker, celery.Task{Name: "a", Queue: "q", Priority: test.priority}); err != nil {
			t.Fatal(err)
		}
		if keys := server.Keys(); !slices.Equal(keys, []string{test.key}) {
			t.Errorf("sent to %q, want %q", keys, test.key)
		}
		m, err := celery.OpenEnvelope([]byte(server.List(test.key)[0]))
		if err != nil || *m.Priority != test.sent || m.RoutingKey != "q" {
			t.Errorf("priority %d for %s, want %d; %v", *m.Priority, m.RoutingKey, test.sent, err)
		}
		state, err := broker.Queue(t.Context(), "q")
		if err != nil || state.Ready != 1 || state.Consumers != -1 {
			t.Errorf("state %v %v", state, err)
		}
	}
}

// Errors distinguish a message that was not sent from one that may have been.
func TestErrorsOfPublishing(t *testing.T) {
	t.Parallel()
	task := celery.Task{Name: "a"}
	t.Run("the server is down", func(t *testing.T) {
		t.Parallel()
		broker := openBroker(t, "redis://127.0.0.1:1")
		if err := publish(t, t.Context(), broker, task); !errors.Is(err, celery.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("the server rejects the command", func(t *testing.T) {
		t.Parallel()
		server := redistest.NewServer(t)
		server.Deny("LPUSH", "OOM command not allowed when used memory > 'maxmemory'.")
		err := publish(t, t.Context(), openBroker(t, server.URL()), task)
		if !errors.Is(err, celery.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
			t.Error(err)
		}
	})
	t.Run("the connection breaks under the command", func(t *testing.T) {
		t.Parallel()
		server := redistest.NewServer(t)
		broker := openBroker(t, server.URL())
		if _, err := broker.Queue(t.Context(), "celery"); err != nil { // connects
			t.Fatal(err)
		}
		server.Stall(true)
		failed := make(chan error, 1)
		go func() { failed <- publish(t, t.Context(), broker, task) }()
		testkit.Eventually(t, func() bool { return server.Stalled() > 0 })
		server.DropConnections()
		if err := <-failed; !errors.Is(err, celery.ErrUnconfirmed) {
			t.Error(err)
		}
	})
	t.Run("the server does not answer in time", func(t *testing.T) {
		t.Parallel()
		server := redistest.NewServer(t)
		broker := brokerWith(t, celeryredis.BrokerSettings{Server: celeryredis.Server{URL: server.URL(), Timeout: time.Second}})
		if _, err := broker.Queue(t.Context(), "celery"); err != nil {
			t.Fatal(err)
		}
		server.Stall(true)
		if err := publish(t, t.Context(), broker, task); !errors.Is(err, celery.ErrUnconfirmed) {
			t.Error(err)
		}
	})
	t.Run("the caller's time is up", func(t *testing.T) {
		t.Parallel()
		server := redistest.NewServer(t)
		broker := openBroker(t, server.URL())
		if _, err := broker.Queue(t.Context(), "celery"); err != nil {
			t.Fatal(err)
		}
		server.Stall(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := publish(t, ctx, broker, task); !errors.Is(err, celery.ErrUnconfirmed) {
			t.Error(err)
		}
		if _, err := broker.Queue(ctx, "celery"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("the broker is closed", func(t *testing.T) {
		t.Parallel()
		broker := openBroker(t, redistest.NewServer(t).URL())
		if err := broker.Close(); err != nil {
			t.Fatal(err)
		}
		if err := publish(t, t.Context(), broker, task); !errors.Is(err, celery.ErrClosed) {
			t.Error(err)
		}
		if _, err := broker.Queue(t.Context(), "a"); !errors.Is(err, celery.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestCommandsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	broker := openBroker(t, server.URL())
	system := redistest.NewSystem(t, redistest.Options{URL: server.URL(), Broker: broker})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	worker := make(chan error, 1)
	go func() {
		worker <- system.Commands(ctx, "w1", func(celery.Command) []byte { return []byte(`{"w1": {"ok": "pong"}}`) })
	}()
	workers := celery.NewWorkers(broker)
	testkit.Eventually(t, func() bool {
		names, err := workers.Ping(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(names) == 1
	})
	if keys := server.Keys(); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
	cancel()
	if err := <-worker; err != nil {
		t.Error(err)
	}
}

func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	broker := openBroker(t, server.URL())
	reply := func([]byte) bool { return true }
	for _, command := range []string{"SADD", "PUBLISH"} {
		server.Deny(command, "NOPERM this user has no permissions")
		if err := broker.Ask(t.Context(), celery.Command{Method: "ping"}, reply); !errors.Is(err, celery.ErrUnavailable) {
			t.Errorf("%s: %v", command, err)
		}
		server.Deny(command, "")
	}
	bad := celery.Command{Method: "x", Arguments: map[string]any{"a": make(chan int)}}
	if err := broker.Ask(t.Context(), bad, reply); err == nil {
		t.Error("a command that cannot be written was sent")
	}
}

// Heartbeats continue after a lost connection.
func TestFollowingEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	proxy := celerytest.NewProxy(t, server.Addr())
	broker := openBroker(t, "redis://"+proxy.Addr())
	ended := make(chan error, 1)
	go func() { ended <- broker.Follow(t.Context(), func([]byte) {}) }()
	testkit.Eventually(t, func() bool { return proxy.Connections() > 0 && server.Count("PSUBSCRIBE") > 0 })
	proxy.Refuse(true)
	if err := <-ended; !errors.Is(err, celery.ErrUnavailable) {
		t.Error(err)
	}
}
