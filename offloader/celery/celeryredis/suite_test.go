package celeryredis_test

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func openBroker(t *testing.T, url string) *celeryredis.Broker {
	t.Helper()
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: celeryredis.Server{URL: url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return broker
}

func openBackend(t *testing.T, s celeryredis.BackendSettings) *celeryredis.Backend {
	t.Helper()
	backend, err := celeryredis.OpenBackend(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	return backend
}

func openReplies(t *testing.T, s celeryredis.RepliesSettings) *celeryredis.Replies {
	t.Helper()
	replies, err := celeryredis.OpenReplies(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { replies.Close() })
	return replies
}

func suite(t *testing.T, backend func(t *testing.T, url string) celery.Backend) {
	t.Helper()
	t.Parallel()
	celerytest.Run(t, func(t *testing.T) celerytest.System {
		server := redistest.NewServer(t)
		proxy := celerytest.NewProxy(t, server.Addr())
		url := "redis://" + proxy.Addr()
		return redistest.NewSystem(t, redistest.Options{
			URL:       server.URL(),
			Broker:    openBroker(t, url),
			Backend:   backend(t, url),
			Interrupt: proxy.Cut,
		})
	})
}

func TestBackendPassesTheSuite(t *testing.T) {
	suite(t, func(t *testing.T, url string) celery.Backend {
		return openBackend(t, celeryredis.BackendSettings{Server: celeryredis.Server{URL: url}})
	})
}

func TestPollingPassesTheSuite(t *testing.T) {
	suite(t, func(t *testing.T, url string) celery.Backend {
		return openBackend(t, celeryredis.BackendSettings{Server: celeryredis.Server{URL: url}, Poll: true})
	})
}

func TestRepliesPassTheSuite(t *testing.T) {
	suite(t, func(t *testing.T, url string) celery.Backend {
		return openReplies(t, celeryredis.RepliesSettings{Server: celeryredis.Server{URL: url}})
	})
}
