package celeryredis_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// LogTo redirects the messages of the Redis client.
func TestLogTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	said := make(chan string, 100)
	celeryredis.LogTo(func(format string, args ...any) {
		select {
		case said <- fmt.Sprintf(format, args...):
		default: // enough
		}
	})
	defer celeryredis.LogTo(func(string, ...any) {})
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: celeryredis.Server{URL: "redis://" + addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	if err := broker.Publish(t.Context(), &celery.Message{RoutingKey: "celery"}); !errors.Is(err, celery.ErrUnavailable) {
		t.Error(err)
	}
	if line := <-said; !strings.Contains(line, addr) {
		t.Errorf("said: %s", line)
	}
}
