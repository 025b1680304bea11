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

// BrokerSettings of a broker. Those beside the server must be as they are in the
// workers, whose broker_transport_options they are.
type BrokerSettings struct {
	Server
	// Prefix of all keys and channels, which Celery calls global_keyprefix.
	Prefix string
	// ControlExchange names what commands go to. Default: "celery".
	ControlExchange string
	// PrioritySteps are the queues that tasks of different priorities go to.
	// Default: 0, 3, 6 and 9.
	PrioritySteps []int
	// Separator between a queue's name and its step. Default: "\x06\x16".
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
	lowestOnRedis          = 9 // there the most urgent is 0
)

// OpenBroker returns a broker. It fails if the settings make no sense, not if
// the server is not there yet.
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

// Publish implements [celery.Broker]. Redis has a queue as soon as something is
// in it, so that no task is unroutable; whether a worker takes from it is
// another matter.
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
	return sent(ctx, b.client.LPush(ctx, b.key(m.RoutingKey, priority), envelope).Err())
}

// key of the list that holds a queue's tasks of a priority.
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

// sent says what an error means for a command that changes something.
func sent(ctx context.Context, err error) error {
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

// asked says what an error means for a command that changes nothing.
func asked(ctx context.Context, err error) error {
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

// ended reports whether the context has ended. Its deadline is also that of the
// connection, which may notice first.
func ended(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// isReply reports whether the server itself has refused.
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
		return celery.QueueState{}, asked(ctx, err)
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
	// Reading ends with the connection, and that with the context.
	defer context.AfterFunc(ctx, func() { ps.Close() })()
	for {
		reply, err := ps.ReceiveTimeout(ctx, silence)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // that is how it ends
			}
			return asked(ctx, err)
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

// silence after which a connection that brings heartbeats counts as broken. If
// there is only no worker, a new one does no harm.
const silence = 30 * time.Second

// channel that stands for an exchange of AMQP.
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
