package celeryredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// listen subscribes like a worker that never replies.
func listen(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	subscription := client.Subscribe(t.Context(), "/0.celery.pidbox")
	t.Cleanup(func() {
		subscription.Close()
		client.Close()
	})
	testkit.Eventually(t, func() bool { return server.Subscribed("/0.celery.pidbox") })
}

// If the only worker is silent, the context and the connection reach the same deadline. Either
// may return first, and neither is an error.
func TestSilentWorkersAreNoError(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	listen(t, server)
	broker := brokerWith(t, celeryredis.BrokerSettings{Server: celeryredis.Server{URL: server.URL(), Connections: 100}})
	failed := make(chan error, 100)
	for range cap(failed) {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			failed <- broker.Ask(ctx, celery.Command{Method: "ping"}, func([]byte) bool { return true })
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// A command that is lost with its connection is unavailable, not unconfirmed: its loss does no
// harm.
func TestAQuestionThatIsLost(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	broker := openBroker(t, server.URL())
	server.Before("PUBLISH", server.DropConnections)
	err := broker.Ask(t.Context(), celery.Command{Method: "ping"}, func([]byte) bool { return true })
	if !errors.Is(err, celery.ErrUnavailable) || errors.Is(err, celery.ErrUnconfirmed) {
		t.Error(err)
	}
}
