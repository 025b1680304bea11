package celeryredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// listen plays a worker that is connected and never answers.
func listen(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	subscription := client.Subscribe(t.Context(), "/0.celery.pidbox")
	t.Cleanup(func() {
		subscription.Close()
		client.Close()
	})
	eventually(t, func() bool { return server.Subscribed("/0.celery.pidbox") })
}

// Where the only worker is silent, the end of the time to answer is that of the
// connection as well. Whichever is noticed first, it is no error.
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

// A question that is lost with its connection is not one that may have been sent: it
// changes nothing.
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
