package celeryamqp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/watch"
)

// Times between two attempts to connect, and the longest time of closing.
const (
	firstRetry   = 50 * time.Millisecond
	lastRetry    = 3 * time.Second
	closeTimeout = time.Second
)

// link keeps a connection and reconnects when it is lost. While connected it holds a value
// of type T, which the broker or the backend uses.
type link[T any] struct {
	server Server
	urls   []string
	health watch.Health
	stop   context.CancelFunc // ends the goroutines
	done   sync.WaitGroup     // of the goroutines

	mu     sync.Mutex
	value  *T            // nil without a connection, guarded by mu
	ready  chan struct{} // closed while value is set or the link is closed, guarded by mu
	worked bool          // value was set on this connection, guarded by mu
	closed bool          // guarded by mu
}

// init prepares a link that does not connect yet.
func (l *link[T]) init(s Server, reconnectTimeout time.Duration) error {
	urls, err := s.urls()
	if err != nil {
		return err
	}
	l.server, l.urls = s.withDefaults(), urls
	l.health.ReconnectTimeout = reconnectTimeout
	l.health.Start()
	l.ready = make(chan struct{})
	return nil
}

// start connects in the background. It calls serve with each connection; serve returns when the
// connection is lost. It calls late at each failed attempt after the reconnect timeout.
func (l *link[T]) start(serve func(context.Context, *amqp.Connection) error, late func(error)) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.done.Go(func() {
		for n, wait := 0, firstRetry; ctx.Err() == nil; n, wait = n+1, min(2*wait, lastRetry) {
			worked, err := l.session(ctx, l.urls[n%len(l.urls)], serve)
			if worked {
				wait = firstRetry
			}
			if err := l.health.Lost(err); err != nil {
				late(err)
			}
			select {
			case <-time.After(wait/2 + rand.N(wait)): // random, so that clients spread
			case <-ctx.Done():
			}
		}
	})
}

// session runs one connection until it is lost. worked reports whether it was used.
func (l *link[T]) session(ctx context.Context, url string, serve func(context.Context, *amqp.Connection) error) (worked bool, err error) {
	conn, err := l.server.dial(ctx, url)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(closeTimeout)) }() // it may be closed already
	err = serve(ctx, conn)
	l.unset()
	l.mu.Lock()
	defer l.mu.Unlock()
	worked, l.worked = l.worked, false
	return worked, err
}

// set makes the value available to get.
func (l *link[T]) set(value *T) {
	l.health.Up()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.worked = value, true
	if !l.closed {
		close(l.ready)
	}
}

// unset makes get wait for the next connection.
func (l *link[T]) unset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value != nil && !l.closed {
		l.ready = make(chan struct{})
	}
	l.value = nil
}

// get waits for a connection, up to the server's timeout since the loss of the last one.
func (l *link[T]) get(ctx context.Context) (*T, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if value, err, ok := l.now(); ok {
		return value, err
	}
	timer := time.NewTimer(l.health.Wait(l.server.Timeout))
	defer timer.Stop()
	for {
		l.mu.Lock()
		ready := l.ready
		l.mu.Unlock()
		select {
		case <-ready:
			if value, err, ok := l.now(); ok {
				return value, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
			return nil, l.health.Unavailable(l.server.Timeout)
		}
	}
}

func (l *link[T]) now() (value *T, err error, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, celery.ErrClosed, true
	}
	return l.value, nil, l.value != nil
}

// close closes the connection and waits for all goroutines. It reports whether the link was
// open.
func (l *link[T]) close() bool {
	l.mu.Lock()
	was := !l.closed
	l.closed = true
	if was && l.value == nil {
		close(l.ready)
	}
	l.mu.Unlock()
	if was {
		l.stop()
		l.done.Wait()
	}
	return was
}

// run runs f in a goroutine, unless the link is closed.
func (l *link[T]) run(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return celery.ErrClosed
	}
	l.done.Go(f)
	return nil
}

// opened is the result of opening a channel.
type opened struct {
	channel *amqp.Channel
	err     error
}

// open opens a separate channel for operations that may fail, since a failure closes the
// channel. Calls of AMQP cannot be interrupted: they continue in the background when the
// context ends.
func (l *link[T]) open(ctx context.Context, conn *amqp.Connection, setUp func(*amqp.Channel) error) (*amqp.Channel, error) {
	result := make(chan opened)
	err := l.run(func() {
		channel, err := conn.Channel()
		if err == nil {
			if err = setUp(channel); err != nil {
				_ = channel.Close() // the failure may have closed it
			}
		}
		select {
		case result <- opened{channel, err}:
		case <-ctx.Done():
			if err == nil {
				_ = channel.Close()
			}
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case o := <-result:
		return o.channel, unavailable(o.err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// unavailable wraps an AMQP error of an operation that can be lost without harm in
// ErrUnavailable.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", celery.ErrUnavailable, err)
}
