package celeryamqp

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

const (
	replyExchange = "reply.celery.pidbox"
	eventExchange = "celeryev"
)

// Broadcast implements [celery.Controller]. It returns -1, as AMQP does not report the number
// of receivers.
func (b *Broker) Broadcast(ctx context.Context, c celery.Command) (int, error) {
	p, err := b.link.get(ctx)
	if err != nil {
		return 0, err
	}
	channel, err := b.link.open(ctx, p.conn, func(channel *amqp.Channel) error {
		return b.command(channel, c)
	})
	if err != nil {
		return 0, err
	}
	return -1, unavailable(channel.Close()) // the server confirms it after it has read the command
}

// command sends a command. It declares the exchange, which the server removes with the last
// worker.
func (b *Broker) command(channel *amqp.Channel, c celery.Command) error {
	exchange := b.settings.ControlExchange + ".pidbox"
	m, err := c.Encode(exchange)
	if err != nil {
		return err
	}
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeFanout, false, false, false, false, nil); err != nil {
		return err
	}
	return channel.Publish(exchange, "", false, false, publishing(m))
}

// Ask implements [celery.Controller]. It waits for replies until the context ends, since their
// number is unknown.
func (b *Broker) Ask(ctx context.Context, c celery.Command, reply func([]byte) bool) error {
	id := celery.NewID()
	c.Ticket = celery.NewID()
	c.ReplyTo = &celery.ReplyAddress{Exchange: replyExchange, RoutingKey: id}
	replies := source{exchange: replyExchange, kind: amqp.ExchangeDirect, queue: id + "." + replyExchange, key: id}
	return b.receive(ctx, replies, func(channel *amqp.Channel) error { return b.command(channel, c) }, reply)
}

// Follow implements [celery.Follower].
func (b *Broker) Follow(ctx context.Context, receive func([]byte)) error {
	events := source{
		exchange: eventExchange, kind: amqp.ExchangeTopic, durable: true,
		queue: eventExchange + "." + celery.NewID(), key: "worker.#",
	}
	nothing := func(*amqp.Channel) error { return nil }
	return b.receive(ctx, events, nothing, func(body []byte) bool {
		receive(body)
		return true
	})
}

// source is an exchange to which workers send, and a temporary queue bound to it.
type source struct {
	exchange, kind string
	durable        bool // of the exchange, as workers declare it
	queue, key     string
}

// shortLived limits the life of a temporary queue and of its messages, in milliseconds.
var shortLived = amqp.Table{"x-expires": int64(60_000), "x-message-ttl": int64(5_000)}

// receive passes on messages from a source until receive returns false or the context ends.
// then runs after the subscription.
func (b *Broker) receive(ctx context.Context, s source, then func(*amqp.Channel) error, receive func([]byte) bool) error {
	p, err := b.link.get(ctx)
	if err != nil {
		return err
	}
	var deliveries <-chan amqp.Delivery
	channel, err := b.link.open(ctx, p.conn, func(channel *amqp.Channel) (err error) {
		if deliveries, err = s.consume(channel); err != nil {
			return err
		}
		return then(channel)
	})
	if err != nil {
		return err
	}
	defer func() { _ = b.link.run(func() { _ = channel.Close() }) }() // in the background
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return unavailable(amqp.ErrClosed)
			}
			if !receive(d.Body) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s source) consume(channel *amqp.Channel) (<-chan amqp.Delivery, error) {
	if err := channel.ExchangeDeclare(s.exchange, s.kind, s.durable, false, false, false, nil); err != nil {
		return nil, err
	}
	if _, err := channel.QueueDeclare(s.queue, false, true, true, false, shortLived); err != nil {
		return nil, err
	}
	if err := channel.QueueBind(s.queue, s.key, s.exchange, false, nil); err != nil {
		return nil, err
	}
	return channel.Consume(s.queue, "", true, true, false, false, nil)
}
