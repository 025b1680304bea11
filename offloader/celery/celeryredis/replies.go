package celeryredis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/watch"
)

// RepliesSettings configure the result backend "rpc://" on a Redis broker.
type RepliesSettings struct {
	// Server is that of the broker.
	Server
	// Prefix is that of the broker.
	Prefix string
	// MaxResult is the largest result in bytes. Default: DefaultMaxResult.
	MaxResult int
	// ReconnectTimeout is how long waiting calls wait for a lost connection to come
	// back. Default: DefaultReconnectTimeout.
	ReconnectTimeout time.Duration
}

// Replies is the result backend "rpc://" on a Redis broker: workers push states to a list, and
// one connection pops them for all calls. States remain in the list while there is no
// connection.
type Replies struct {
	client   *redis.Client
	settings RepliesSettings
	table    watch.Table
	name     string
	key      string             // list to which workers push replies
	taken    string             // list of the reply in transit, see read
	stop     context.CancelFunc // ends the goroutine
	done     sync.WaitGroup     // of the goroutine
	health   watch.Health
	closing  sync.Once
}

// replyWait is how long one BRPOPLPUSH waits for a reply.
const replyWait = 2 * time.Second

// OpenReplies returns a backend that connects in the background. It returns an error only for
// invalid settings.
func OpenReplies(s RepliesSettings) (*Replies, error) {
	s.Server = s.withDefaults()
	s.Timeout += replyWait // the blocking command takes that long
	client, _, err := s.client()
	if err != nil {
		return nil, err
	}
	if s.MaxResult <= 0 {
		s.MaxResult = DefaultMaxResult
	}
	if s.ReconnectTimeout <= 0 {
		s.ReconnectTimeout = DefaultReconnectTimeout
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Replies{client: client, settings: s, name: celery.NewID(), stop: stop}
	r.key = s.Prefix + r.name
	r.taken = r.key + ".taken"
	r.health.ReconnectTimeout = s.ReconnectTimeout
	r.health.Start()
	r.done.Go(func() { r.read(ctx) })
	return r, nil
}

// ReplyTo implements [celery.Replier].
func (r *Replies) ReplyTo() string { return r.name }

// Watch implements [celery.Backend]. It cannot miss a state: workers push states of the task
// only after the task is sent, which is after Watch.
func (r *Replies) Watch(ctx context.Context, id string, w celery.Watcher) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := r.table.Add(id, w)
	return err
}

// Unwatch implements [celery.Backend].
func (r *Replies) Unwatch(id string, w celery.Watcher) { r.table.Remove(id, w) }

// read pops replies from the list, one at a time. Each stays in a second list until it has
// arrived, because the connection may be lost during the transfer.
func (r *Replies) read(ctx context.Context) {
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		err := r.recover(ctx)
		for err == nil {
			wait = firstRetry
			r.health.Up()
			err = r.next(ctx)
		}
		if late := r.health.Lost(err); late != nil {
			r.table.FailAll(late)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// recover reports the reply that was in transit when the last connection was lost.
func (r *Replies) recover(ctx context.Context) error {
	onTheWay, err := r.client.LRange(ctx, r.taken, 0, -1).Result()
	for _, envelope := range onTheWay {
		r.report(envelope)
	}
	return err
}

// next waits for one reply, up to replyWait.
func (r *Replies) next(ctx context.Context) error {
	var reply *redis.StringCmd
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, r.taken)
		reply = p.BRPopLPush(ctx, r.key, r.taken, replyWait)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err == nil {
		r.report(reply.Val())
	}
	return err
}

func (r *Replies) report(envelope string) {
	m, err := celery.OpenEnvelope([]byte(envelope))
	switch {
	case err != nil: // the task is unknown
	case len(m.Body) > r.settings.MaxResult:
		r.table.Fail(m.CorrelationID, tooLarge(len(m.Body)))
	default:
		r.table.Report(m.CorrelationID, m.Body)
	}
}

// Close fails all watchers, removes the lists and closes all connections.
func (r *Replies) Close() (err error) {
	r.closing.Do(func() {
		r.table.Close(celery.ErrClosed)
		r.stop()
		ctx, cancel := context.WithTimeout(context.Background(), cleanUpTimeout)
		defer cancel()
		_ = r.client.Del(ctx, r.key, r.taken).Err() // best effort: the server may be down
		if err = r.client.Close(); err != nil {
			err = fmt.Errorf("closing the backend: %w", err)
		}
		r.done.Wait()
	})
	return err
}

var (
	_ celery.Backend = (*Replies)(nil)
	_ celery.Replier = (*Replies)(nil)
)
