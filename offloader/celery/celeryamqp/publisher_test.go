package celeryamqp

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/amqptest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// counted is a connection that counts the bytes it has received.
type counted struct {
	net.Conn
	received *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// A task that is sent right after the connect may be confirmed before serve reads
// confirmations. The confirmation is still delivered.
func TestAConfirmationThatComesEarly(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	var received atomic.Int64
	conn, err := amqp.DialConfig(amqptest.NewServer(t).URL(), amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		return counted{conn, &received}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := newPublisher(conn)
	if err != nil {
		t.Fatal(err)
	}
	before := received.Load()
	sent := make(chan error)
	go func() { sent <- p.publish(ctx, &celery.Message{RoutingKey: "absent"}) }()
	ended := make(chan error)
	testkit.Eventually(t, func() bool { return received.Load() > before })
	serving, end := context.WithCancel(ctx)
	go func() { ended <- p.serve(serving) }()
	if err := <-sent; !errors.Is(err, celery.ErrUnroutable) {
		t.Errorf("sending: %v", err)
	}
	end()
	<-ended
}
