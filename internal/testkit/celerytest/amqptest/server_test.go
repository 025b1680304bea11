package amqptest_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A queue that goes with its last consumer is there until it has had one, as on
// RabbitMQ: a channel that is closed before then has nothing to do with it.
func TestAQueueWaitsForItsFirstConsumer(t *testing.T) {
	server := amqptest.NewServer(t)
	conn, err := amqp.Dial(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	listener, other := channel(t, conn), channel(t, conn)
	const autoDelete = true
	if _, err := listener.QueueDeclare("fleeting", false, autoDelete, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := listener.Consume("fleeting", "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if left := server.Queues(); len(left) > 0 {
		t.Errorf("after its last consumer there is still %q", left)
	}
}

func channel(t *testing.T, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	c, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
