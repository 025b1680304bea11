package celeryredis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Abort implements [celery.Aborter]. It does not overwrite a state that a worker stores in the
// meantime.
func (b *Backend) Abort(ctx context.Context, id string) error {
	key := b.settings.Prefix + id
	for {
		var final error
		err := b.client.Watch(ctx, func(tx *redis.Tx) (err error) {
			final, err = b.abort(ctx, tx, id, key)
			return err
		}, key)
		switch {
		case final != nil:
			return final
		case !errors.Is(err, redis.TxFailedErr):
			return readError(ctx, err)
		}
	}
}

// abort stores the state in a transaction, which fails if another state is stored before it
// ends. final is an error for which a new attempt is useless.
func (b *Backend) abort(ctx context.Context, tx *redis.Tx, id, key string) (final, err error) {
	before, err := b.load(ctx, tx, key)
	if err != nil {
		return err, nil
	}
	aborted, err := celery.EncodeAborted(id, before)
	if err != nil || aborted == nil {
		return err, nil
	}
	_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetEx(ctx, key, aborted, b.settings.Expires)
		p.Publish(ctx, key, aborted)
		return nil
	})
	return nil, err
}
