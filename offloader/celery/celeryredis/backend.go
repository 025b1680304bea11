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

// BackendSettings of a result backend.
type BackendSettings struct {
	Server
	// Prefix of keys and channels. Default: DefaultResultPrefix, behind the
	// global_keyprefix of result_backend_transport_options if there is one.
	Prefix string
	// MaxResult is the largest result in bytes. Redis itself cuts off whoever is
	// sent more than 31 MiB at once. Default: DefaultMaxResult.
	MaxResult int
	// Poll asks for results again and again instead of listening, for servers
	// that do not allow to subscribe.
	Poll bool
	// ReconnectTimeout is how long waiting calls wait for a lost connection to come
	// back. Default: DefaultReconnectTimeout.
	ReconnectTimeout time.Duration
	// Expires is how long a state that is stored here is kept, as the workers'
	// result_expires. Default: DefaultExpires.
	Expires time.Duration
	// PingEvery is how often the connection that listens is tried. One that is
	// silent for three times as long is broken. Default: DefaultPingEvery.
	PingEvery time.Duration
}

// Backend is the Redis result backend of Celery. All calls share one connection
// that listens, whatever their number.
type Backend struct {
	client   *redis.Client
	settings BackendSettings
	table    watch.Table
	stop     context.CancelFunc
	done     sync.WaitGroup // of the goroutines, which end with stop
	changed  chan struct{}  // rings when there is something to subscribe to
	missed   chan struct{}  // rings when there is something to fetch
	health   watch.Health
	closing  sync.Once

	mu      sync.Mutex
	subs    map[string]*subscription // by task, guarded by mu
	add     []string                 // tasks to subscribe to, guarded by mu
	drop    []string                 // tasks to unsubscribe from, guarded by mu
	fetches []string                 // tasks whose state may have been missed, guarded by mu
}

// subscription is that of one task.
type subscription struct {
	sent      bool          // SUBSCRIBE has been sent on this connection
	confirmed bool          // some connection has once listened to it
	ready     chan struct{} // closed then
	last      string        // what polling has seen last
}

// OpenBackend returns a backend. It fails if the settings make no sense, not if
// the server is not there yet.
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

// subscribe returns the subscription of a task, which may be new.
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
			ring(b.changed)
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
			ring(b.changed)
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
		return nil, asked(ctx, err)
	}
	if size > int64(b.settings.MaxResult) {
		return nil, tooLarge(int(size))
	}
	payload, err := client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return payload, asked(ctx, err)
}

// Close ends all waiting and closes all connections.
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

// lost notes that there is no connection.
func (b *Backend) lost(err error) {
	if late := b.health.Lost(err); late != nil {
		b.table.FailAll(late)
	}
}

// report passes on what a worker has published about a task.
func (b *Backend) report(id, payload string) {
	if len(payload) > b.settings.MaxResult {
		b.table.Fail(id, tooLarge(len(payload)))
		return
	}
	b.table.Report(id, []byte(payload))
}

func tooLarge(size int) error { return fmt.Errorf("%w: %d bytes", celery.ErrTooLarge, size) }

// ring wakes whoever waits for the bell, once.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// id of the task whose channel or key this is.
func (b *Backend) id(key string) string { return strings.TrimPrefix(key, b.settings.Prefix) }

var (
	_ celery.Backend = (*Backend)(nil)
	_ celery.Store   = (*Backend)(nil)
	_ celery.Aborter = (*Backend)(nil)
)
