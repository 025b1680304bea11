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
	if !c.link.take(func(n int) bool { return c.mayWait(ctx, n) }) {
		return nil, fail(saturated, "the workers have enough to do")
	}
	return c.link.giveBack, nil
}

// check asks whether a worker is there that knows the task. What it says is known
// from heartbeats, or was asked lately.
func (c *call) check(ctx context.Context) error {
	if c.h.WorkerCheck == on || c.h.TaskCheck == on {
		c.link.follow() // who is there says how many answers to wait for
	}
	if c.h.WorkerCheck == on {
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

// mayWait reports whether n requests may wait.
func (c *call) mayWait(ctx context.Context, n int) bool {
	o := c.h.MaxOutstanding
	switch {
	case o == nil:
		return true
	case o.Count > 0:
		return n <= o.Count
	}
	slots := (n + o.PerSlot - 1) / o.PerSlot
	enough, err := c.link.workers.HaveSlots(ctx, slots)
	return enough || err != nil // nobody can say
}
