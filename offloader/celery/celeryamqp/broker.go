package celeryamqp

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// BrokerSettings configure a broker.
type BrokerSettings struct {
	Server
	// Exchange is the exchange for tasks, for workers whose queues are bound to an exchange
	// that is not direct. Default: the default exchange, which delivers to the queue by
	// name.
	Exchange string
	// ControlExchange is the workers' control_exchange. Default: "celery".
	ControlExchange string
}

// Broker is an AMQP broker of Celery. It declares no queues for tasks, since only workers
// know a queue's arguments. A task for an absent queue is rejected as unroutable.
type Broker struct {
	settings BrokerSettings
	link     link[publisher]
}

const defaultControlExchange = "celery"

// OpenBroker returns a broker that connects in the background. It returns an error only for
// invalid settings.
func OpenBroker(s BrokerSettings) (*Broker, error) {
	if s.ControlExchange == "" {
		s.ControlExchange = defaultControlExchange
	}
	b := &Broker{settings: s}
	if err := b.link.init(s.Server, DefaultReconnectTimeout); err != nil {
		return nil, err
	}
	b.link.start(b.serve, func(error) {}) // callers of get have their own time limit
	return b, nil
}

func (b *Broker) serve(ctx context.Context, conn *amqp.Connection) error {
	p, err := newPublisher(conn)
	if err != nil {
		return err
	}
	b.link.set(p)
	err = p.serve(ctx)
	b.link.unset()
	p.fail(err)
	return err
}

// Publish implements [celery.Broker]. It returns when the server has confirmed that the
// message is in a queue.
func (b *Broker) Publish(ctx context.Context, m *celery.Message) error {
	if b.settings.Exchange != "" && m.Exchange == "" {
		copied := *m
		copied.Exchange = b.settings.Exchange
		m = &copied
	}
	for {
		p, err := b.link.get(ctx)
		if err != nil {
			return err
		}
		switch err := p.publish(ctx, m); {
		case errors.Is(err, errNotSent):
			<-p.gone // the connection is closing; the next one may work
		case errors.Is(err, celery.ErrUnroutable):
			return fmt.Errorf("queue '%s': %w", m.RoutingKey, err)
		default:
			return err
		}
	}
}

// Queue implements [celery.QueueGauge].
func (b *Broker) Queue(ctx context.Context, name string) (celery.QueueState, error) {
	p, err := b.link.get(ctx)
	if err != nil {
		return celery.QueueState{}, err
	}
	var queue amqp.Queue
	channel, err := b.link.open(ctx, p.conn, func(channel *amqp.Channel) (err error) {
		queue, err = channel.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if reply, ok := errors.AsType[*amqp.Error](err); ok && reply.Code == amqp.NotFound {
		return celery.QueueState{}, fmt.Errorf("%w: '%s'", celery.ErrUnroutable, name)
	}
	if err != nil {
		return celery.QueueState{}, err
	}
	_ = channel.Close() // the result is known
	return celery.QueueState{Ready: queue.Messages, Consumers: queue.Consumers}, nil
}

// Close closes the connection. Calls that wait for a confirmation fail.
func (b *Broker) Close() error {
	b.link.close()
	return nil
}

var (
	_ celery.Broker     = (*Broker)(nil)
	_ celery.Controller = (*Broker)(nil)
	_ celery.Follower   = (*Broker)(nil)
	_ celery.QueueGauge = (*Broker)(nil)
)
