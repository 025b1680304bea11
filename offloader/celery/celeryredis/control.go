package celeryredis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

const (
	replyExchange = "reply.celery.pidbox"
	bindings      = "_kombu.binding."
	// bindingSeparator separates the routing key, the pattern and the queue of a
	// binding, independent of the option Separator.
	bindingSeparator = "\x06\x16"
	// cleanUpTimeout is the longest time to remove lists and bindings of replies.
	cleanUpTimeout = time.Second
	// controlReplyWait is how long one BRPOP waits for a reply, in whole seconds.
	controlReplyWait = time.Second
)

// Broadcast implements [celery.Controller]. The number counts all subscribers of the channel,
// which are the workers and possible other listeners.
func (b *Broker) Broadcast(ctx context.Context, c celery.Command) (int, error) {
	channel, envelope, err := b.command(c)
	if err != nil {
		return 0, err
	}
	workers, err := b.client.Publish(ctx, channel, envelope).Result()
	return int(workers), changeError(ctx, err)
}

// command returns the channel and the envelope of a command.
func (b *Broker) command(c celery.Command) (channel string, envelope []byte, err error) {
	exchange := b.settings.ControlExchange + ".pidbox"
	m, err := c.Encode(exchange)
	if err != nil {
		return "", nil, err
	}
	envelope, err = m.Envelope(0)
	return b.channel(exchange), envelope, err
}

// Ask implements [celery.Controller].
func (b *Broker) Ask(ctx context.Context, c celery.Command, reply func([]byte) bool) error {
	id := celery.NewID()
	queue := id + "." + replyExchange
	c.Ticket = celery.NewID()
	c.ReplyTo = &celery.ReplyAddress{Exchange: replyExchange, RoutingKey: id}
	channel, envelope, err := b.command(c)
	if err != nil {
		return err
	}
	bindingKey := b.settings.Prefix + bindings + replyExchange
	binding := id + bindingSeparator + bindingSeparator + queue
	if err := b.client.SAdd(ctx, bindingKey, binding).Err(); err != nil {
		return readError(ctx, err)
	}
	defer b.cleanUp(ctx, bindingKey, binding, b.settings.Prefix+queue)
	workers, err := b.client.Publish(ctx, channel, envelope).Result()
	if err != nil {
		return readError(ctx, err) // not unconfirmed: a lost inspection does no harm
	}
	for ; workers > 0; workers-- {
		body, err := b.nextReply(ctx, b.settings.Prefix+queue)
		if err != nil || body == nil || !reply(body) {
			return err
		}
	}
	return nil
}

// nextReply waits for one reply. It returns nil when the context has ended.
func (b *Broker) nextReply(ctx context.Context, key string) ([]byte, error) {
	for ctx.Err() == nil {
		popped, err := b.client.BRPop(ctx, controlReplyWait, key).Result()
		switch {
		case errors.Is(err, redis.Nil), err != nil && ended(ctx):
			continue
		case err != nil:
			return nil, readError(ctx, err)
		}
		m, err := celery.OpenEnvelope([]byte(popped[1]))
		if err != nil {
			return nil, fmt.Errorf("reading a worker's reply: %w", err)
		}
		return m.Body, nil
	}
	return nil, nil
}

// cleanUp removes the list of replies and its binding, so that late replies go nowhere.
func (b *Broker) cleanUp(ctx context.Context, bindingKey, binding, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	_, _ = b.client.Pipelined(ctx, func(p redis.Pipeliner) error { // leftovers do no harm
		p.SRem(ctx, bindingKey, binding)
		p.Del(ctx, key)
		return nil
	})
}
