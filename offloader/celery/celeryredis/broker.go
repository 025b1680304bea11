package celeryredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// BrokerSettings configure a broker. Except for Server, they must equal the workers' settings,
// most of which are in broker_transport_options.
type BrokerSettings struct {
	Server
	// Prefix is the workers' global_keyprefix, of all keys and channels.
	Prefix string
	// ControlExchange is the workers' control_exchange. Default: "celery".
	ControlExchange string
	// PrioritySteps are the workers' priority_steps: each step has its own list.
	// Default: 0, 3, 6 and 9.
	PrioritySteps []int
	// Separator is the workers' sep, between the name of a queue and the step. Default:
	// "\x06\x16".
	Separator string
}

// Broker is a Redis broker of Celery.
type Broker struct {
	client   *redis.Client
	settings BrokerSettings
	db       int
}

const (
	defaultControlExchange = "celery"
	defaultSeparator       = "\x06\x16"
	lowestOnRedis          = 9 // on Redis the most urgent priority is 0
)

// OpenBroker returns a broker that connects when it is used. It returns an error only for
// invalid settings.
func OpenBroker(s BrokerSettings) (*Broker, error) {
	client, db, err := s.client()
	if err != nil {
		return nil, err
	}
	if s.ControlExchange == "" {
		s.ControlExchange = defaultControlExchange
	}
	if s.Separator == "" {
		s.Separator = defaultSeparator
	}
	if len(s.PrioritySteps) == 0 {
		s.PrioritySteps = []int{0, 3, 6, 9}
	}
	s.PrioritySteps = slices.Sorted(slices.Values(s.PrioritySteps))
	return &Broker{client: client, settings: s, db: db}, nil
}

// Publish implements [celery.Broker]. It never returns ErrUnroutable: on Redis a queue is a
// list, which exists as soon as it has an element, even if no worker takes from it.
func (b *Broker) Publish(ctx context.Context, m *celery.Message) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	priority := 0
	if m.Priority != nil {
		priority = lowestOnRedis - *m.Priority
	}
	envelope, err := m.Envelope(priority)
	if err != nil {
		return err
	}
	return changeError(ctx, b.client.LPush(ctx, b.key(m.RoutingKey, priority), envelope).Err())
}

// key returns the list for tasks of a queue and a priority.
func (b *Broker) key(queue string, priority int) string {
	step := 0
	for _, s := range b.settings.PrioritySteps {
		if s <= priority {
			step = s
		}
	}
	return b.stepKey(queue, step)
}

func (b *Broker) stepKey(queue string, step int) string {
	if step == 0 {
		return b.settings.Prefix + queue
	}
	return b.settings.Prefix + queue + b.settings.Separator + strconv.Itoa(step)
}

// changeError converts the error of a command that changes data: after a lost connection
// the command may have been executed.
func changeError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrClosed):
		return celery.ErrClosed
	case errors.Is(err, errDial), errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), isReply(err):
		return fmt.Errorf("%w: %w", celery.ErrUnavailable, err)
	case ended(ctx):
		return fmt.Errorf("%w: %w", celery.ErrUnconfirmed, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", celery.ErrUnconfirmed, err)
}

// readError converts the error of a command that can be lost without harm.
func readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrClosed):
		return celery.ErrClosed
	case ended(ctx):
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", celery.ErrUnavailable, err)
}

// ended reports whether the context has ended. The connection has the same deadline, and may
// return its error a moment earlier than the context.
func ended(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// isReply reports whether the server has replied with an error.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// Queue implements [celery.QueueGauge].
func (b *Broker) Queue(ctx context.Context, name string) (celery.QueueState, error) {
	lengths := make([]*redis.IntCmd, len(b.settings.PrioritySteps))
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, step := range b.settings.PrioritySteps {
			lengths[i] = p.LLen(ctx, b.stepKey(name, step))
		}
		return nil
	})
	if err != nil {
		return celery.QueueState{}, readError(ctx, err)
	}
	state := celery.QueueState{Consumers: -1}
	for _, length := range lengths {
		state.Ready += int(length.Val())
	}
	return state, nil
}

// Follow implements [celery.Follower].
func (b *Broker) Follow(ctx context.Context, receive func([]byte)) error {
	ps := b.client.PSubscribe(ctx, b.channel("celeryev/worker.*"))
	defer ps.Close()
	// Closing the connection at the end of the context unblocks the read.
	defer context.AfterFunc(ctx, func() { ps.Close() })()
	for {
		reply, err := ps.ReceiveTimeout(ctx, silence)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // that is how it ends
			}
			return readError(ctx, err)
		}
		message, ok := reply.(*redis.Message)
		if !ok {
			continue
		}
		if event, err := celery.OpenEnvelope([]byte(message.Payload)); err == nil {
			receive(event.Body)
		}
	}
}

// silence is the time without an event after which the connection of Follow counts as lost. If
// no worker is alive, reconnecting does no harm.
const silence = 30 * time.Second

// channel returns the Redis channel that stands for an AMQP exchange.
func (b *Broker) channel(exchange string) string {
	return fmt.Sprintf("%s/%d.%s", b.settings.Prefix, b.db, exchange)
}

// Close closes all connections.
func (b *Broker) Close() error {
	if err := b.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("closing the broker: %w", err)
	}
	return nil
}

var (
	_ celery.Broker     = (*Broker)(nil)
	_ celery.Controller = (*Broker)(nil)
	_ celery.Follower   = (*Broker)(nil)
	_ celery.QueueGauge = (*Broker)(nil)
)
