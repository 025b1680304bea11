package celeryamqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/watch"
)

// BackendSettings configure a result backend.
type BackendSettings struct {
	// Server is that of the broker.
	Server
	// QueuePrefix is the first part of the name of the queue for replies. The second part
	// is random. Default: DefaultQueuePrefix.
	QueuePrefix string
	// MaxResult is the largest result in bytes. Default: DefaultMaxResult.
	MaxResult int
	// ReconnectTimeout is how long waiting calls wait for a lost connection to come
	// back. Default: DefaultReconnectTimeout.
	ReconnectTimeout time.Duration
}

// DefaultQueuePrefix is the default of [BackendSettings.QueuePrefix].
const DefaultQueuePrefix = "caddy-offload.replies."

// Backend is the result backend "rpc://" of Celery on AMQP: workers send states to one queue,
// which one connection reads for all calls.
//
// The queue outlives the connection, and a restart of the server, for ReconnectTimeout and a
// minute. States remain in it until they are acknowledged. If the queue is gone after a
// reconnect, waiting calls fail, since states sent to it are lost.
type Backend struct {
	settings BackendSettings
	name     string
	table    watch.Table
	link     link[consumer]
	declared bool // the queue has existed; owned by the goroutine of the link
}

// consumer is the value of the link while the queue is read.
type consumer struct{}

const (
	// keepQueue is how long the queue outlives its reader, beyond the reconnect timeout.
	keepQueue = time.Minute
	// prefetch is the largest number of unacknowledged replies, and ackEvery the size of
	// a batch of acknowledgements.
	prefetch = 1000
	ackEvery = 100

	contentJSON = "application/json"
)

// OpenBackend returns a backend that connects in the background. It returns an error only for
// invalid settings.
func OpenBackend(s BackendSettings) (*Backend, error) {
	if s.QueuePrefix == "" {
		s.QueuePrefix = DefaultQueuePrefix
	}
	if s.MaxResult <= 0 {
		s.MaxResult = DefaultMaxResult
	}
	if s.ReconnectTimeout <= 0 {
		s.ReconnectTimeout = DefaultReconnectTimeout
	}
	b := &Backend{settings: s, name: s.QueuePrefix + celery.NewID()}
	if err := b.link.init(s.Server, s.ReconnectTimeout); err != nil {
		return nil, err
	}
	b.link.start(b.serve, b.table.FailAll)
	return b, nil
}

// ReplyTo implements [celery.Replier].
func (b *Backend) ReplyTo() string { return b.name }

// Watch implements [celery.Backend]. It waits until the queue exists.
func (b *Backend) Watch(ctx context.Context, id string, w celery.Watcher) error {
	if _, err := b.link.get(ctx); err != nil {
		return err
	}
	_, err := b.table.Add(id, w)
	return err
}

// Unwatch implements [celery.Backend].
func (b *Backend) Unwatch(id string, w celery.Watcher) { b.table.Remove(id, w) }

// serve reads the queue until the connection is lost.
func (b *Backend) serve(ctx context.Context, conn *amqp.Connection) error {
	if err := b.declare(conn); err != nil {
		return err
	}
	channel, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("opening a channel: %w", err)
	}
	if err := channel.Qos(prefetch, 0, false); err != nil {
		return fmt.Errorf("setting the prefetch: %w", err)
	}
	deliveries, err := channel.Consume(b.name, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("reading the queue for replies: %w", err)
	}
	b.link.set(new(consumer))
	err = b.read(ctx, deliveries)
	if ctx.Err() != nil { // closed: the queue has no reader
		b.remove(channel)
	}
	return err
}

// remove removes the queue. It gives up after closeTimeout, as the queue expires by itself.
func (b *Backend) remove(channel *amqp.Channel) {
	removed := make(chan struct{})
	b.link.done.Go(func() {
		defer close(removed)
		_, _ = channel.QueueDelete(b.name, false, false, false)
	})
	select {
	case <-removed:
	case <-time.After(closeTimeout):
	}
}

// declare declares the queue. If the queue was lost in the meantime, it fails all watchers.
func (b *Backend) declare(conn *amqp.Connection) error {
	if b.declared && !exists(conn, b.name) {
		b.table.FailAll(fmt.Errorf("%w: the broker has removed the queue for replies", celery.ErrResultLost))
	}
	channel, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("opening a channel: %w", err)
	}
	defer channel.Close()
	args := amqp.Table{
		"x-expires":    (b.settings.ReconnectTimeout + keepQueue).Milliseconds(),
		"x-queue-type": "classic",
	}
	if _, err := channel.QueueDeclare(b.name, true, false, false, false, args); err != nil {
		return fmt.Errorf("declaring the queue for replies: %w", err)
	}
	b.declared = true
	return nil
}

// exists returns false only if the server reports that the queue is absent.
func exists(conn *amqp.Connection, queue string) bool {
	channel, err := conn.Channel()
	if err != nil {
		return true
	}
	defer channel.Close()
	_, err = channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	reply, ok := errors.AsType[*amqp.Error](err)
	return !ok || reply.Code != amqp.NotFound
}

// read passes on replies and acknowledges them in batches. Replies that are delivered again
// after a lost connection do no harm.
func (b *Backend) read(ctx context.Context, deliveries <-chan amqp.Delivery) error {
	var batch []amqp.Delivery
	for {
		d, err := b.next(ctx, deliveries, &batch)
		if err != nil {
			return err
		}
		b.report(d)
		if batch = append(batch, d); len(batch) == ackEvery {
			if err := acknowledge(&batch); err != nil {
				return err
			}
		}
	}
}

// next waits for a reply. Before it blocks, it acknowledges the batch.
func (b *Backend) next(ctx context.Context, deliveries <-chan amqp.Delivery, batch *[]amqp.Delivery) (amqp.Delivery, error) {
	select {
	case d, ok := <-deliveries:
		return d, stillOpen(ok)
	default:
	}
	if err := acknowledge(batch); err != nil {
		return amqp.Delivery{}, err
	}
	select {
	case d, ok := <-deliveries:
		return d, stillOpen(ok)
	case <-ctx.Done():
		return amqp.Delivery{}, context.Cause(ctx)
	}
}

func stillOpen(ok bool) error {
	if !ok {
		return amqp.ErrClosed
	}
	return nil
}

// acknowledge acknowledges all replies of a batch.
func acknowledge(batch *[]amqp.Delivery) error {
	if len(*batch) == 0 {
		return nil
	}
	last := (*batch)[len(*batch)-1]
	*batch = (*batch)[:0]
	if err := last.Ack(true); err != nil {
		return fmt.Errorf("acknowledging replies: %w", err)
	}
	return nil
}

func (b *Backend) report(d amqp.Delivery) {
	switch {
	case len(d.Body) > b.settings.MaxResult:
		b.table.Fail(d.CorrelationId, fmt.Errorf("%w: %d bytes", celery.ErrTooLarge, len(d.Body)))
	case d.ContentType != contentJSON:
		b.table.Fail(d.CorrelationId, fmt.Errorf("%w: its content type is '%s'", celery.ErrUnreadable, d.ContentType))
	default:
		b.table.Report(d.CorrelationId, d.Body)
	}
}

// Close fails all watchers and removes the queue.
func (b *Backend) Close() error {
	b.table.Close(celery.ErrClosed)
	b.link.close()
	return nil
}

var (
	_ celery.Backend = (*Backend)(nil)
	_ celery.Replier = (*Backend)(nil)
)
