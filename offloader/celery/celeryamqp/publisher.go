package celeryamqp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// publisher sends messages on one channel and waits for their confirmations.
type publisher struct {
	conn    *amqp.Connection
	channel *amqp.Channel

	returns  <-chan amqp.Return
	confirms <-chan amqp.Confirmation
	blockeds <-chan amqp.Blocking
	closed   <-chan *amqp.Error

	sending sync.Mutex // held while a message is written, as messages are numbered in that order

	mu       sync.Mutex
	pending  map[uint64]*unconfirmed // by number, guarded by mu
	returned map[string]bool         // tasks whose queue is absent, until confirmed; guarded by mu
	blocked  string                  // why the server accepts nothing, empty if it does; guarded by mu
	lost     bool                    // no further confirmations come, guarded by mu
	gone     chan struct{}           // closed with lost
}

// errNotSent means that the connection was lost before the message was sent.
var errNotSent = errors.New("the connection was lost")

// unconfirmed is a message that was sent and is not confirmed yet.
type unconfirmed struct {
	task string
	done chan error // receives the outcome, once
}

// newPublisher registers for notifications before the first publish, since the library drops
// notifications without a receiver.
func newPublisher(conn *amqp.Connection) (*publisher, error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	if err := channel.Confirm(false); err != nil {
		return nil, fmt.Errorf("asking the broker for confirmations: %w", err)
	}
	return &publisher{
		conn: conn, channel: channel,
		returns:  channel.NotifyReturn(make(chan amqp.Return)),
		confirms: channel.NotifyPublish(make(chan amqp.Confirmation)),
		blockeds: conn.NotifyBlocked(make(chan amqp.Blocking)),
		closed:   channel.NotifyClose(make(chan *amqp.Error, 1)),
		pending:  make(map[uint64]*unconfirmed), returned: make(map[string]bool), gone: make(chan struct{}),
	}, nil
}

// serve delivers outcomes until the channel is closed. The channels of notifications are
// unbuffered, which preserves the order of the server: a message is returned before it is
// confirmed.
func (p *publisher) serve(ctx context.Context) error {
	returns, confirms, blockeds := p.returns, p.confirms, p.blockeds
	defer discard(returns)
	defer discard(confirms)
	defer discard(blockeds)
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			p.comesBack(r.CorrelationId)
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			p.confirm(c)
		case b, ok := <-blockeds:
			if !ok {
				blockeds = nil
				continue
			}
			p.setBlocked(b)
		case err := <-p.closed:
			if err == nil {
				return amqp.ErrClosed
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// discard reads notifications until the library closes the channel, as the library blocks on
// unread ones.
func discard[T any](channel <-chan T) {
	go func() {
		for range channel {
			continue
		}
	}()
}

func (p *publisher) comesBack(task string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned[task] = true
}

func (p *publisher) setBlocked(b amqp.Blocking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = ""
	if b.Active {
		p.blocked = b.Reason
	}
}

func (p *publisher) confirm(c amqp.Confirmation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.pending[c.DeliveryTag]
	delete(p.pending, c.DeliveryTag)
	if u == nil {
		return
	}
	switch {
	case p.returned[u.task]:
		delete(p.returned, u.task)
		u.done <- celery.ErrUnroutable
	case !c.Ack:
		u.done <- fmt.Errorf("%w: the broker has rejected the message", celery.ErrUnavailable)
	default:
		u.done <- nil
	}
}

// fail ends all waits for confirmations.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
	close(p.gone)
	for tag, u := range p.pending {
		delete(p.pending, tag)
		u.done <- fmt.Errorf("%w: %w", celery.ErrUnconfirmed, err)
	}
}

// publish sends a message and waits for its confirmation.
func (p *publisher) publish(ctx context.Context, m *celery.Message) error {
	u := &unconfirmed{task: m.CorrelationID, done: make(chan error, 1)}
	if err := p.send(m, u); err != nil {
		return err
	}
	select {
	case err := <-u.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", celery.ErrUnconfirmed, context.Cause(ctx))
	}
}

func (p *publisher) send(m *celery.Message, u *unconfirmed) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	tag := p.channel.GetNextPublishSeqNo()
	if err := p.expect(tag, u); err != nil {
		return err
	}
	err := p.channel.Publish(m.Exchange, m.RoutingKey, true, false, publishing(m))
	if err == nil {
		return nil
	}
	p.mu.Lock()
	delete(p.pending, tag)
	p.mu.Unlock()
	if errors.Is(err, amqp.ErrClosed) {
		return errNotSent
	}
	return fmt.Errorf("%w: %w", celery.ErrUnconfirmed, err)
}

func (p *publisher) expect(tag uint64, u *unconfirmed) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.lost:
		return errNotSent
	case p.blocked != "":
		return fmt.Errorf("%w: the broker accepts no messages: %s", celery.ErrUnavailable, p.blocked)
	}
	p.pending[tag] = u
	return nil
}
