package celeryamqp_test

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func openBroker(t *testing.T, s celeryamqp.BrokerSettings) *celeryamqp.Broker {
	t.Helper()
	broker, err := celeryamqp.OpenBroker(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return broker
}

func openBackend(t *testing.T, s celeryamqp.BackendSettings) *celeryamqp.Backend {
	t.Helper()
	backend, err := celeryamqp.OpenBackend(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	return backend
}

func TestBrokerAndBackendPassTheSuite(t *testing.T) {
	t.Parallel()
	celerytest.Run(t, func(t *testing.T) celerytest.System {
		server := amqptest.NewServer(t)
		proxy := celerytest.NewProxy(t, server.Addr())
		there := celeryamqp.Server{URL: "amqp://guest:guest@" + proxy.Addr() + "//"}
		return amqptest.NewSystem(t, amqptest.Options{
			URL:       server.URL(),
			Broker:    openBroker(t, celeryamqp.BrokerSettings{Server: there}),
			Backend:   openBackend(t, celeryamqp.BackendSettings{Server: there}),
			Interrupt: proxy.Cut,
		})
	})
}
