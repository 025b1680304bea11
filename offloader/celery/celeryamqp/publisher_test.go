package celeryamqp

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// A task that is sent right after the connect may be confirmed before serve reads
// confirmations. The confirmation is still delivered.
func TestAConfirmationThatComesEarly(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	conn, err := amqp.Dial(amqptest.NewServer(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := newPublisher(conn)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error)
	go func() { sent <- p.publish(ctx, &celery.Message{RoutingKey: "absent"}) }()
	ended := make(chan error)
	<-time.After(50 * time.Millisecond) // it is there, if the machine is not too busy
	serving, end := context.WithCancel(ctx)
	go func() { ended <- p.serve(serving) }()
	if err := <-sent; !errors.Is(err, celery.ErrUnroutable) {
		t.Errorf("sending: %v", err)
	}
	end()
	<-ended
}
