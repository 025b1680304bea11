package redistest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// System is a broker and a backend on Redis, and a worker's connection to the server.
type System struct {
	broker    celery.Broker
	backend   celery.Backend
	worker    *redis.Client
	prefix    string // of result keys
	interrupt func()
}

// Options configure a system.
type Options struct {
	// URL of the server that the worker connects to.
	URL string
	// Broker and Backend to test. The system closes them.
	Broker  celery.Broker
	Backend celery.Backend
	// ResultPrefix of the backend. Default: Celery's.
	ResultPrefix string
	// Interrupt cuts the connections of broker and backend.
	Interrupt func()
}

// NewSystem returns a system. The worker's connection ends with the test.
func NewSystem(t *testing.T, o Options) *System {
	t.Helper()
	options, err := redis.ParseURL(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.DisableIdentity = true
	worker := redis.NewClient(options)
	t.Cleanup(func() { worker.Close() })
	if o.ResultPrefix == "" {
		o.ResultPrefix = "celery-task-meta-"
	}
	return &System{broker: o.Broker, backend: o.Backend, worker: worker, prefix: o.ResultPrefix, interrupt: o.Interrupt}
}

// Broker implements celerytest.System.
func (s *System) Broker() celery.Broker { return s.broker }

// Backend implements celerytest.System.
func (s *System) Backend() celery.Backend { return s.backend }

// Interrupt implements celerytest.System.
func (s *System) Interrupt() { s.interrupt() }

// Take implements celerytest.System.
func (s *System) Take(ctx context.Context, queue string) (*celery.Message, error) {
	for ctx.Err() == nil {
		for _, key := range []string{queue, queue + "\x06\x163", queue + "\x06\x166", queue + "\x06\x169"} {
			text, err := s.worker.RPop(ctx, key).Bytes()
			if err == nil {
				return celery.OpenEnvelope(text)
			}
			if !errors.Is(err, redis.Nil) {
				return nil, err
			}
		}
		testkit.PauseUntil(ctx, 2*time.Millisecond)
	}
	return nil, context.Cause(ctx)
}

// Report implements celerytest.System. Like a worker, it does not overwrite a stored success,
// and sends the states of a task with ReplyTo there.
func (s *System) Report(ctx context.Context, task *celery.Message, payload []byte) error {
	if task.ReplyTo != "" {
		m := celery.Message{
			RoutingKey: task.ReplyTo, CorrelationID: task.CorrelationID,
			Body: payload, ContentType: "application/json", ContentEncoding: "utf-8",
		}
		envelope, err := m.Envelope(0)
		if err != nil {
			return err
		}
		return s.worker.LPush(ctx, task.ReplyTo, envelope).Err()
	}
	key := s.prefix + task.CorrelationID
	stored, err := s.worker.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if strings.Contains(stored, `"status": "SUCCESS"`) {
		return nil
	}
	_, err = s.worker.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetEx(ctx, key, payload, 24*time.Hour)
		p.Publish(ctx, key, payload)
		return nil
	})
	return err
}

// Commands implements celerytest.System.
func (s *System) Commands(ctx context.Context, name string, reply func(celery.Command) []byte) error {
	ps := s.worker.PSubscribe(ctx, "/0.celery.pidbox")
	defer ps.Close()
	defer context.AfterFunc(ctx, func() { ps.Close() })()
	for {
		message, err := ps.ReceiveMessage(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // that is how it ends
			}
			return err
		}
		if err := s.obey(ctx, name, message.Payload, reply); err != nil {
			return err
		}
	}
}

func (s *System) obey(ctx context.Context, name, envelope string, reply func(celery.Command) []byte) error {
	m, err := celery.OpenEnvelope([]byte(envelope))
	if err != nil {
		return err
	}
	var c celery.Command
	if err := json.Unmarshal(m.Body, &commandBody{&c.Method, &c.Arguments, &c.Destination, &c.Ticket, &c.ReplyTo}); err != nil {
		return err
	}
	if len(c.Destination) > 0 && !slices.Contains(c.Destination, name) {
		return nil
	}
	body := reply(c)
	if c.ReplyTo == nil || body == nil {
		return nil
	}
	message := celery.Message{
		Exchange: c.ReplyTo.Exchange, RoutingKey: c.ReplyTo.RoutingKey, Body: body,
		Headers: map[string]any{"ticket": c.Ticket}, ContentType: "application/json", ContentEncoding: "utf-8",
	}
	text, err := message.Envelope(0)
	if err != nil {
		return err
	}
	bindings, err := s.worker.SMembers(ctx, "_kombu.binding."+c.ReplyTo.Exchange).Result()
	for _, binding := range bindings {
		parts := strings.Split(binding, "\x06\x16")
		if parts[0] == c.ReplyTo.RoutingKey {
			err = s.worker.LPush(ctx, parts[2], text).Err()
		}
	}
	return err
}

type commandBody struct {
	Method      *string               `json:"method"`
	Arguments   *map[string]any       `json:"arguments"`
	Destination *[]string             `json:"destination"`
	Ticket      *string               `json:"ticket"`
	ReplyTo     **celery.ReplyAddress `json:"reply_to"`
}

// Event implements celerytest.System.
func (s *System) Event(ctx context.Context, routingKey string, body []byte) error {
	m := celery.Message{Exchange: "celeryev", RoutingKey: routingKey, Body: body, ContentType: "application/json", ContentEncoding: "utf-8"}
	envelope, err := m.Envelope(0)
	if err != nil {
		return err
	}
	return s.worker.Publish(ctx, "/0.celeryev/"+routingKey, envelope).Err()
}

// Close implements celerytest.System.
func (s *System) Close() error {
	var errs []error
	for _, part := range []any{s.broker, s.backend} {
		if closer, ok := part.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}
