package celeryredis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limits of the subscribing connection.
const (
	missedPongs = 3 // intervals of pings without data before the connection counts as lost
	firstRetry  = 50 * time.Millisecond
	lastRetry   = 3 * time.Second
	maxBatch    = 500 // keys or channels in one command
)

// listen keeps a subscribing connection, and reconnects when it is lost.
func (b *Backend) listen(ctx context.Context) {
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		worked, err := b.session(ctx)
		if worked {
			wait = firstRetry
		}
		b.lost(err)
		select {
		case <-time.After(wait/2 + rand.N(wait)): // random, so that clients spread
		case <-ctx.Done():
		}
	}
}

// session runs one connection until it is lost, with one goroutine that writes and one that
// reads. worked is false if it could not connect.
func (b *Backend) session(ctx context.Context) (worked bool, err error) {
	ps := b.client.Subscribe(ctx)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer ps.Close()
	if err := ps.Ping(ctx); err != nil { // connects
		return false, err
	}
	b.connected()
	failed := make(chan error, 1)
	reader.Go(func() { failed <- b.read(ctx, ps) })
	ping := time.NewTicker(b.settings.PingEvery)
	defer ping.Stop()
	for {
		select {
		case <-b.changed:
			err = b.send(ctx, ps)
		case <-ping.C:
			err = ps.Ping(ctx)
		case err = <-failed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return true, err
		}
	}
}

// connected schedules all subscriptions for the new connection.
func (b *Backend) connected() {
	b.health.Up()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add, b.drop = b.add[:0], nil
	for id, s := range b.subs {
		s.sent = false
		b.add = append(b.add, id)
	}
	wake(b.changed)
}

// send sends pending subscriptions and unsubscriptions.
func (b *Backend) send(ctx context.Context, ps *redis.PubSub) error {
	add, drop := b.changes()
	if err := inBatches(drop, func(channels []string) error { return ps.Unsubscribe(ctx, channels...) }); err != nil {
		return err
	}
	return inBatches(add, func(channels []string) error { return ps.Subscribe(ctx, channels...) })
}

// changes returns the channels to subscribe to and to unsubscribe from, and resets both lists.
// A task in both was unwatched first and then watched again.
func (b *Backend) changes() (add, drop []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.add {
		if s := b.subs[id]; s != nil && !s.sent {
			s.sent = true
			add = append(add, b.settings.Prefix+id)
		}
	}
	for _, id := range b.drop {
		drop = append(drop, b.settings.Prefix+id)
	}
	b.add, b.drop = b.add[:0], b.drop[:0]
	return add, drop
}

func inBatches(all []string, do func([]string) error) error {
	for len(all) > 0 {
		n := min(len(all), maxBatch)
		if err := do(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// read passes on messages until the connection is lost. It must not block on watchers, as the
// server disconnects slow readers.
func (b *Backend) read(ctx context.Context, ps *redis.PubSub) error {
	for {
		reply, err := ps.ReceiveTimeout(ctx, missedPongs*b.settings.PingEvery)
		if err != nil {
			return err
		}
		switch m := reply.(type) {
		case *redis.Message:
			b.report(b.id(m.Channel), m.Payload)
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				b.confirm(b.id(m.Channel))
			}
		}
	}
}

// confirm records a confirmed subscription. A second confirmation means that the connection was
// lost in between, so a published state may have been missed.
func (b *Backend) confirm(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subs[id]
	switch {
	case s == nil:
	case s.confirmed:
		b.fetches = append(b.fetches, id)
		wake(b.missed)
	default:
		s.confirmed = true
		close(s.ready)
	}
}

// fetchMissed fetches states that may have been published without a connection.
func (b *Backend) fetchMissed(ctx context.Context) {
	for {
		select {
		case <-b.missed:
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		ids := b.fetches
		b.fetches = nil
		b.mu.Unlock()
		for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
			if b.fetch(ctx, ids, b.report) == nil {
				break
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// fetch reports the stored states of tasks. It fetches their sizes first, to limit the size of
// one reply to MaxResult.
func (b *Backend) fetch(ctx context.Context, ids []string, report func(id, payload string)) error {
	return inBatches(ids, func(ids []string) error {
		sizes := make([]*redis.IntCmd, len(ids))
		if _, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				sizes[i] = p.StrLen(ctx, b.settings.Prefix+id)
			}
			return nil
		}); err != nil {
			return err
		}
		var group []string
		total := 0
		for i, id := range ids {
			size := int(sizes[i].Val())
			switch {
			case size == 0:
				continue
			case size > b.settings.MaxResult:
				b.table.Fail(id, tooLarge(size))
				continue
			case total+size > b.settings.MaxResult:
				if err := b.get(ctx, group, report); err != nil {
					return err
				}
				group, total = group[:0], 0
			}
			group, total = append(group, id), total+size
		}
		return b.get(ctx, group, report)
	})
}

func (b *Backend) get(ctx context.Context, ids []string, report func(id, payload string)) error {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = b.settings.Prefix + id
	}
	payloads, err := b.client.MGet(ctx, keys...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for i, payload := range payloads {
		if text, ok := payload.(string); ok {
			report(ids[i], text)
		}
	}
	return nil
}
