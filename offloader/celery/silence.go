package celery

import (
	"context"
	"time"
)

// A worker with the pool solo or gevent may have its event loop blocked by its own tasks.
// It then sends no heartbeat and replies to no command, but takes the next task when it is
// free. So a worker that does not reply may still be alive. It counts as silent if it has
// sent anything lately and is still subscribed to commands, and its earlier replies remain
// valid.

// longestSilence is how long a silent worker is remembered, for callers with a later
// deadline or without one.
const longestSilence = 24 * time.Hour

// note records that a worker has sent something now.
func (w *Workers) note(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = time.Now()
}

// trust makes workers that become silent count as alive until the caller's deadline: they
// may be busy with the caller's task.
func (w *Workers) trust(ctx context.Context) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trusted.Before(deadline) {
		w.trusted = deadline
	}
}

// suspects returns the workers that have not replied now but may be alive: those whose last
// message is no older than the time until the caller's deadline.
func (w *Workers) suspects(ctx context.Context, replied func(name string) bool) []string {
	now := time.Now()
	since := now.Add(-longestSilence)
	if deadline, ok := ctx.Deadline(); ok {
		since = now.Add(-time.Until(deadline))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetSilent(now)
	var names []string
	for name, at := range w.seen {
		if !replied(name) && (at.After(since) || now.Before(w.trusted)) {
			names = append(names, name)
		}
	}
	return names
}

// silent returns the workers that may be alive although they have not replied. It returns
// none if the broker counts no more listeners than workers have replied.
func silent[T any](ctx context.Context, w *Workers, replies map[string]T) []string {
	names := w.suspects(ctx, func(name string) bool {
		_, ok := replies[name]
		return ok
	})
	if len(names) == 0 {
		return nil
	}
	n, err := w.listeners.Get(ctx, func(int) bool { return true })
	if err == nil && n >= 0 && n <= len(replies) {
		return nil
	}
	return names
}

// countListeners counts the workers that listen to commands, by a broadcast of a ping without
// an address for replies. The broker reports the number of receivers.
func (w *Workers) countListeners(ctx context.Context, publish func(int)) error {
	controller, ok := w.broker.(Controller)
	if !ok {
		return ErrUnsupported
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, errSlowBroker)
	defer cancel()
	n, err := controller.Broadcast(ctx, pingQuery.command)
	if err == nil {
		publish(n)
	}
	return err
}
