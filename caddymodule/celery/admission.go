package celery

import (
	"context"
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// admit rejects a request that no worker would serve, before a task is sent. The caller must
// call leave.
func (tr *taskRequest) admit(ctx context.Context) (leave func(), err error) {
	if err := tr.check(ctx); err != nil {
		return nil, err
	}
	if !tr.link.take(func(n int) bool { return tr.mayWait(ctx, n) }) {
		return nil, fail(saturated, "the workers have enough to do")
	}
	return tr.link.giveBack, nil
}

// check rejects a task that no worker would run. Workers are known from heartbeats and
// cached replies.
func (tr *taskRequest) check(ctx context.Context) error {
	if tr.h.WorkerCheck == on || tr.h.TaskCheck == on {
		tr.link.follow() // heartbeats limit the number of replies to wait for
	}
	if tr.h.WorkerCheck == on {
		err := tr.link.workers.Ready(ctx, tr.task.Queue)
		if err != nil && !errors.Is(err, celery.ErrUnsupported) {
			return err
		}
	}
	if tr.h.TaskCheck != on || tr.anyTask {
		return nil
	}
	// On an error the workers are unknown, and may know the task.
	if known, err := tr.link.workers.Knows(ctx, tr.task.Name); err == nil && !known {
		return fail(unknownTask, "there is no such task")
	}
	return nil
}

// mayWait reports whether n requests may wait for results, by max_outstanding.
func (tr *taskRequest) mayWait(ctx context.Context, n int) bool {
	o := tr.h.MaxOutstanding
	switch {
	case o == nil:
		return true
	case o.Count > 0:
		return n <= o.Count
	}
	slots := (n + o.PerSlot - 1) / o.PerSlot
	enough, err := tr.link.workers.HaveSlots(ctx, slots)
	return enough || err != nil // on an error the concurrency is unknown
}
