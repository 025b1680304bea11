package celeryredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/watch"
)

// BackendSettings configure a result backend.
type BackendSettings struct {
	Server
	// Prefix is the prefix of keys and channels. If the workers have a global_keyprefix
	// in result_backend_transport_options, it is that followed by DefaultResultPrefix.
	// Default: DefaultResultPrefix.
	Prefix string
	// MaxResult is the largest result in bytes. By default, Redis closes the connection
	// of a subscriber with more than 32 MiB of unsent data. Default: DefaultMaxResult.
	MaxResult int
	// Poll polls for results instead of subscribing, for servers that do not allow
	// subscriptions.
	Poll bool
	// ReconnectTimeout is how long waiting calls wait for a lost connection to come
	// back. Default: DefaultReconnectTimeout.
	ReconnectTimeout time.Duration
	// Expires is how long a state that Abort stores is kept, as the workers'
	// result_expires. Default: DefaultExpires.
	Expires time.Duration
	// PingEvery is the interval of pings on the subscribing connection. The connection
	// counts as lost after three times as long without data. Default: DefaultPingEvery.
	PingEvery time.Duration
}

// Backend is the Redis result backend of Celery. All calls share one subscribing connection.
type Backend struct {
	client   *redis.Client
	settings BackendSettings
	table    watch.Table
	stop     context.CancelFunc // ends the goroutines
	done     sync.WaitGroup     // of the goroutines
	changed  chan struct{}      // has an element if add or drop may not be empty
	missed   chan struct{}      // has an element if fetches may not be empty
	health   watch.Health
	closing  sync.Once

	mu      sync.Mutex
	subs    map[string]*subscription // by task, guarded by mu
	add     []string                 // tasks to subscribe to, guarded by mu
	drop    []string                 // tasks to unsubscribe from, guarded by mu
	fetches []string                 // tasks whose state may have been missed, guarded by mu
}

// subscription is the subscription to the channel of one task. The mutex of the backend guards
// the fields.
type subscription struct {
	sent      bool          // SUBSCRIBE was sent on this connection
	confirmed bool          // the server has confirmed it, on this or an earlier connection
	ready     chan struct{} // closed at the first confirmation
	last      string        // last polled state
}

// OpenBackend returns a backend that connects in the background. It returns an error only for
// invalid settings.
func OpenBackend(s BackendSettings) (*Backend, error) {
	client, _, err := s.client()
	if err != nil {
		return nil, err
	}
	s.Server = s.withDefaults()
	if s.Prefix == "" {
		s.Prefix = DefaultResultPrefix
	}
	if s.PingEvery <= 0 {
		s.PingEvery = DefaultPingEvery
	}
	if s.MaxResult <= 0 {
		s.MaxResult = DefaultMaxResult
	}
	if s.ReconnectTimeout <= 0 {
		s.ReconnectTimeout = DefaultReconnectTimeout
	}
	if s.Expires <= 0 {
		s.Expires = DefaultExpires
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Backend{
		client: client, settings: s, stop: stop,
		changed: make(chan struct{}, 1), missed: make(chan struct{}, 1),
		subs: make(map[string]*subscription),
	}
	b.health.ReconnectTimeout = s.ReconnectTimeout
	b.health.Start()
	if s.Poll {
		b.done.Go(func() { b.poll(ctx) })
		return b, nil
	}
	b.done.Go(func() { b.listen(ctx) })
	b.done.Go(func() { b.fetchMissed(ctx) })
	return b, nil
}

// Watch implements [celery.Backend].
func (b *Backend) Watch(ctx context.Context, id string, w celery.Watcher) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, err := b.table.Add(id, w); err != nil {
		return err
	}
	if err := b.await(ctx, b.subscribe(id)); err != nil {
		b.Unwatch(id, w)
		return err
	}
	return nil
}

// subscribe returns the subscription for a task. It creates one if needed.
func (b *Backend) subscribe(id string) *subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subs[id]
	if s == nil {
		s = &subscription{ready: make(chan struct{})}
		b.subs[id] = s
		if b.settings.Poll {
			close(s.ready)
		} else {
			b.add = append(b.add, id)
			wake(b.changed)
		}
	}
	return s
}

// await waits until the server has confirmed a subscription.
func (b *Backend) await(ctx context.Context, s *subscription) error {
	timer := time.NewTimer(b.health.Wait(b.settings.Timeout))
	defer timer.Stop()
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return b.health.Unavailable(b.settings.Timeout)
	}
}

// Unwatch implements [celery.Backend].
func (b *Backend) Unwatch(id string, w celery.Watcher) {
	if !b.table.Remove(id, w) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.subs[id]; s != nil && !b.table.Watched(id) {
		delete(b.subs, id)
		if s.sent {
			b.drop = append(b.drop, id)
			wake(b.changed)
		}
	}
}

// Fetch implements [celery.Store].
func (b *Backend) Fetch(ctx context.Context, id string) ([]byte, error) {
	return b.load(ctx, b.client, b.settings.Prefix+id)
}

func (b *Backend) load(ctx context.Context, client redis.StringCmdable, key string) ([]byte, error) {
	size, err := client.StrLen(ctx, key).Result()
	if err != nil {
		return nil, readError(ctx, err)
	}
	if size > int64(b.settings.MaxResult) {
		return nil, tooLarge(int(size))
	}
	payload, err := client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return payload, readError(ctx, err)
}

// Close fails all watchers and closes all connections.
func (b *Backend) Close() (err error) {
	b.closing.Do(func() {
		b.table.Close(celery.ErrClosed)
		b.stop()
		if err = b.client.Close(); err != nil {
			err = fmt.Errorf("closing the backend: %w", err)
		}
		b.done.Wait()
	})
	return err
}

// lost records that there is no connection, and fails all watchers after the reconnect timeout.
func (b *Backend) lost(err error) {
	if late := b.health.Lost(err); late != nil {
		b.table.FailAll(late)
	}
}

// report passes a published state to the watchers of a task.
func (b *Backend) report(id, payload string) {
	if len(payload) > b.settings.MaxResult {
		b.table.Fail(id, tooLarge(len(payload)))
		return
	}
	b.table.Report(id, []byte(payload))
}

func tooLarge(size int) error { return fmt.Errorf("%w: %d bytes", celery.ErrTooLarge, size) }

// wake makes the reader of a channel of size 1 run once more.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// id returns the task of a channel or key.
func (b *Backend) id(key string) string { return strings.TrimPrefix(key, b.settings.Prefix) }

var (
	_ celery.Backend = (*Backend)(nil)
	_ celery.Store   = (*Backend)(nil)
	_ celery.Aborter = (*Backend)(nil)
)
