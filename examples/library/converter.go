package main

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// coolDown is how long the pool sends nothing to the machine after it has failed.
const coolDown = 2 * time.Second

// converter protects a machine by a pool.
type converter struct {
	machine *machine
	pool    *offloader.Pool
	say     func(format string, args ...any)
}

func newConverter(m *machine, say func(format string, args ...any)) (*converter, error) {
	settings := offloader.DefaultSettings()
	settings.Concurrency = 4
	settings.Queue = 20
	settings.MaxWait = 5 * time.Second
	settings.Breaker.CoolDown = coolDown
	c := &converter{machine: m, say: say}
	pool, err := offloader.New("converter", settings,
		offloader.WithOutcome(outcomeOf),
		offloader.WithBreakerObserver(func(from, to offloader.BreakerState) {
			say("  the breaker goes from %s to %s", from, to)
		}))
	if err != nil {
		return nil, err
	}
	c.pool = pool
	return c, nil
}

// outcomeOf excludes errors about damaged documents, which are not the fault of the
// machine.
func outcomeOf(err error) offloader.Outcome {
	if errors.Is(err, errDamaged) {
		return offloader.Excluded
	}
	return offloader.OutcomeOf(err)
}

// convert converts one document. A full queue makes it come back at the time that the
// pool advises; any other rejection is an error.
func (c *converter) convert(ctx context.Context, document string) error {
	for {
		err := c.pool.Do(ctx, func(ctx context.Context) error {
			return c.machine.convert(ctx, document)
		})
		rejected, ok := errors.AsType[*offloader.RejectedError](err)
		if !ok || !errors.Is(err, offloader.ErrShed) {
			return err
		}
		select {
		case <-time.After(rejected.NextRetry().Turn):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// close lets running and waiting documents finish, rejects new ones, and reports.
func (c *converter) close(ctx context.Context) error {
	if err := c.pool.Drain(ctx); err != nil {
		return err
	}
	c.say("  one more document: %v", c.convert(ctx, "document"))
	if err := c.pool.Close(ctx); err != nil {
		return err
	}
	s := c.pool.Snapshot()
	c.say("  %d runs succeeded, %d failed, %d say nothing of the machine",
		s.Ended[offloader.Success], s.Ended[offloader.Failure], s.Ended[offloader.Excluded])
	c.say("  rejections by reason: %v", s.Rejected)
	return nil
}
