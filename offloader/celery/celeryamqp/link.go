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

// Times between two attempts to connect, and for saying goodbye.
const (
	firstRetry   = 50 * time.Millisecond
	lastRetry    = 3 * time.Second
	closeTimeout = time.Second
)

// link keeps a connection, and makes a new one when it is lost. While there is
// one it holds a T, which is what a broker or a backend needs of it.
type link[T any] struct {
	server Server
	urls   []string
	health watch.Health
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	value  *T            // nil without a connection, guarded by mu
	there  chan struct{} // closed when value is there or the link is closed, guarded by mu
	worked bool          // this connection came to be used, guarded by mu
	closed bool          // guarded by mu
}

// init does not connect yet.
func (l *link[T]) init(s Server, reconnectTimeout time.Duration) error {
	urls, err := s.urls()
	if err != nil {
		return err
	}
	l.server, l.urls = s.withDefaults(), urls
	l.health.ReconnectTimeout = reconnectTimeout
	l.health.Start()
	l.there = make(chan struct{})
	return nil
}

// start keeps connecting. serve is given each connection and returns when it is
// lost; late is told when there has been none for too long.
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
			case <-time.After(wait/2 + rand.N(wait)): // not all clients at once
			case <-ctx.Done():
			}
		}
	})
}

// session is the life of one connection. worked tells that it came to be used.
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

// set says that there is a connection which can be used.
func (l *link[T]) set(value *T) {
	l.health.Up()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.worked = value, true
	if !l.closed {
		close(l.there)
	}
}

// unset says that there is none any more.
func (l *link[T]) unset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value != nil && !l.closed {
		l.there = make(chan struct{})
	}
	l.value = nil
}

// get waits for a connection, as long as there is hope of one.
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
		there := l.there
		l.mu.Unlock()
		select {
		case <-there:
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

// close ends the connection and waits for everything that runs on it. It
// reports whether the link was open.
func (l *link[T]) close() bool {
	l.mu.Lock()
	was := !l.closed
	l.closed = true
	if was && l.value == nil {
		close(l.there)
	}
	l.mu.Unlock()
	if was {
		l.stop()
		l.done.Wait()
	}
	return was
}

// run runs f beside the connection, unless the link is closed.
func (l *link[T]) run(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return celery.ErrClosed
	}
	l.done.Go(f)
	return nil
}

// opened is a channel, or why there is none.
type opened struct {
	channel *amqp.Channel
	err     error
}

// open opens a channel of its own for something that may fail, since a failure
// closes the channel. Calls of AMQP cannot be interrupted, so they are left alone
// when the context ends.
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

// unavailable says what an error of AMQP means for something that changes
// nothing.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", celery.ErrUnavailable, err)
}
