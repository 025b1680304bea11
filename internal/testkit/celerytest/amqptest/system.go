// Package amqptest provides tools for tests of AMQP clients: an AMQP server in the test's
// process with faults to order, and the AMQP side of a Celery worker, for that server or a
// real one.
package amqptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// System is a broker and a backend on AMQP, and a worker's connection to it.
type System struct {
	options Options
	mu      sync.Mutex // guards the fields below: channels are not safe for concurrent use
	worker  *amqp.Connection
	publish *amqp.Channel
	take    *amqp.Channel
}

// Options of a system.
type Options struct {
	// URL of the server that the worker connects to.
	URL string
	// Broker and Backend to test. The system closes them.
	Broker  celery.Broker
	Backend celery.Backend
	// Interrupt breaks the connections of broker and backend.
	Interrupt func()
}

// NewSystem returns a system, and declares the default queue as a worker does.
// The worker's connection ends with the test.
func NewSystem(t *testing.T, o Options) *System {
	t.Helper()
	s := &System{options: o}
	if err := s.connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = s.publish.QueueDelete(celery.DefaultQueue, false, false, false)
		s.worker.Close()
	})
	return s
}

func (s *System) connect() (err error) {
	if s.worker, err = amqp.Dial(s.options.URL); err != nil {
		return err
	}
	if s.publish, err = s.worker.Channel(); err != nil {
		return err
	}
	if s.take, err = s.worker.Channel(); err != nil {
		return err
	}
	_, err = s.publish.QueueDeclare(celery.DefaultQueue, true, false, false, false, nil)
	return err
}

// Broker implements celerytest.System.
func (s *System) Broker() celery.Broker { return s.options.Broker }

// Backend implements celerytest.System.
func (s *System) Backend() celery.Backend { return s.options.Backend }

// Interrupt implements celerytest.System.
func (s *System) Interrupt() { s.options.Interrupt() }

// Take implements celerytest.System.
func (s *System) Take(ctx context.Context, queue string) (*celery.Message, error) {
	for ctx.Err() == nil {
		s.mu.Lock()
		d, ok, err := s.take.Get(queue, true)
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if ok {
			return received(d), nil
		}
		testkit.PauseUntil(ctx, 2*time.Millisecond)
	}
	return nil, context.Cause(ctx)
}

// received returns the message of a delivery.
func received(d amqp.Delivery) *celery.Message {
	return &celery.Message{
		Exchange: d.Exchange, RoutingKey: d.RoutingKey, CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo,
		Priority: new(int(d.Priority)), Persistent: d.DeliveryMode == amqp.Persistent, Headers: values(d.Headers),
		Body: d.Body, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
	}
}

func values(t amqp.Table) map[string]any {
	m := make(map[string]any, len(t))
	for name, value := range t {
		if inner, ok := value.(amqp.Table); ok {
			value = values(inner)
		}
		m[name] = value
	}
	return m
}

func (s *System) send(ctx context.Context, exchange, key string, p amqp.Publishing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publish.PublishWithContext(ctx, exchange, key, false, false, p)
}

// Report implements celerytest.System.
func (s *System) Report(ctx context.Context, task *celery.Message, payload []byte) error {
	return s.send(ctx, "", task.ReplyTo, amqp.Publishing{
		CorrelationId: task.CorrelationID, ContentType: "application/json", ContentEncoding: "utf-8", Body: payload,
	})
}

// Event implements celerytest.System.
func (s *System) Event(ctx context.Context, routingKey string, body []byte) error {
	s.mu.Lock()
	err := s.publish.ExchangeDeclare("celeryev", "topic", true, false, false, false, nil)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.send(ctx, "celeryev", routingKey, amqp.Publishing{ContentType: "application/json", Body: body})
}

// Commands implements celerytest.System.
func (s *System) Commands(ctx context.Context, name string, reply func(celery.Command) []byte) error {
	channel, err := s.worker.Channel()
	if err != nil {
		return err
	}
	defer channel.Close()
	if err := channel.ExchangeDeclare("celery.pidbox", "fanout", false, false, false, false, nil); err != nil {
		return err
	}
	queue, err := channel.QueueDeclare(name+".celery.pidbox", false, true, true, false, nil)
	if err != nil {
		return err
	}
	if err := channel.QueueBind(queue.Name, "", "celery.pidbox", false, nil); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue.Name, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return amqp.ErrClosed
			}
			if err := s.obey(ctx, name, d.Body, reply); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *System) obey(ctx context.Context, name string, body []byte, reply func(celery.Command) []byte) error {
	var c struct {
		Method      string
		Arguments   map[string]any
		Destination []string
		Ticket      string
		ReplyTo     *celery.ReplyAddress `json:"reply_to"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return err
	}
	if len(c.Destination) > 0 && !slices.Contains(c.Destination, name) {
		return nil
	}
	text := reply(celery.Command{Method: c.Method, Arguments: c.Arguments, Destination: c.Destination})
	if c.ReplyTo == nil || text == nil {
		return nil
	}
	return s.send(ctx, c.ReplyTo.Exchange, c.ReplyTo.RoutingKey, amqp.Publishing{
		Headers: amqp.Table{"ticket": c.Ticket}, ContentType: "application/json", Body: text,
	})
}

// Close implements celerytest.System.
func (s *System) Close() error {
	var errs []error
	for _, part := range []any{s.options.Broker, s.options.Backend} {
		if closer, ok := part.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}
