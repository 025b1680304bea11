package celeryredis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Abort implements [celery.Aborter]. What a worker stores meanwhile is not
// overwritten.
func (b *Backend) Abort(ctx context.Context, id string) error {
	key := b.settings.Prefix + id
	for {
		var refused error
		err := b.client.Watch(ctx, func(tx *redis.Tx) (err error) {
			refused, err = b.abort(ctx, tx, id, key)
			return err
		}, key)
		switch {
		case refused != nil:
			return refused
		case !errors.Is(err, redis.TxFailedErr):
			return asked(ctx, err)
		}
	}
}

// abort is done only if nothing else is stored before it is. refused says why it
// cannot be, whatever the server does.
func (b *Backend) abort(ctx context.Context, tx *redis.Tx, id, key string) (refused, err error) {
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
