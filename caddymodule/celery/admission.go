package celery

import (
	"context"
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// admit refuses a request that nobody would serve, at once and without queueing a
// task. The caller owes a call of leave.
func (c *call) admit(ctx context.Context) (leave func(), err error) {
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	if !c.link.take(c.limit(ctx)) {
		return nil, fail(saturated, "the workers have enough to do")
	}
	return c.link.giveBack, nil
}

// check asks whether a worker is there that knows the task. What it says is known
// from heartbeats, or was asked lately.
func (c *call) check(ctx context.Context) error {
	if c.h.WorkerCheck == on {
		c.link.follow()
		err := c.link.workers.Ready(ctx, c.task.Queue)
		if err != nil && !errors.Is(err, celery.ErrUnsupported) {
			return err
		}
	}
	if c.h.TaskCheck != on || c.anyTask {
		return nil
	}
	// Workers that cannot be asked may know it.
	if known, err := c.link.workers.Knows(ctx, c.task.Name); err == nil && !known {
		return fail(unknownTask, "there is no such task")
	}
	return nil
}

// limit is how many requests may wait, zero for no limit.
func (c *call) limit(ctx context.Context) int {
	o := c.h.MaxOutstanding
	switch {
	case o == nil:
		return 0
	case o.Count > 0:
		return o.Count
	}
	slots, err := c.link.workers.Slots(ctx)
	if err != nil {
		return 0 // nobody can say
	}
	return slots * o.PerSlot
}
