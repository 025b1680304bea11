package celeryamqp

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// BrokerSettings of a broker.
type BrokerSettings struct {
	Server
	// Exchange that tasks go to, if workers use one of another type than direct.
	// Default: none, tasks go straight to their queue.
	Exchange string
	// ControlExchange names what commands go to. Default: "celery".
	ControlExchange string
}

// Broker is an AMQP broker of Celery. It declares no queues: that is for workers,
// who know how they must be. A task for a queue that is absent comes back.
type Broker struct {
	settings BrokerSettings
	link     link[publisher]
}

const defaultControlExchange = "celery"

// OpenBroker returns a broker. It fails if the settings make no sense, not if
// the server is not there yet.
func OpenBroker(s BrokerSettings) (*Broker, error) {
	if s.ControlExchange == "" {
		s.ControlExchange = defaultControlExchange
	}
	b := &Broker{settings: s}
	if err := b.link.init(s.Server, DefaultReconnectTimeout); err != nil {
		return nil, err
	}
	b.link.start(b.serve, func(error) {}) // nobody waits longer than a timeout
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

// Publish implements [celery.Broker]. It returns when the broker has confirmed
// that the task is in a queue.
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
			<-p.gone // so it will be, and the next one is worth a try
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
	_ = channel.Close() // it has done its work
	return celery.QueueState{Ready: queue.Messages, Consumers: queue.Consumers}, nil
}

// Close ends the connection. Calls that wait for a confirmation fail.
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
