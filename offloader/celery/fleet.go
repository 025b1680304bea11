package celery

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// How long answers are kept.
const (
	keepPings  = 2 * time.Second
	keepGauges = 2 * time.Second
	keepQueues = 10 * time.Second
	keepStats  = 10 * time.Second
	keepNames  = time.Minute
	// A task that was not known may have been added: that is asked again sooner.
	keepUnknown = 2 * time.Second
)

// Ready returns nil if a worker seems to be there that takes tasks from the
// queue. The error wraps ErrNoWorker or ErrUnroutable if not, and ErrUnavailable
// if the broker is not there either.
func (w *Workers) Ready(ctx context.Context, queue string) error {
	if gauge, ok := w.broker.(QueueGauge); ok {
		state, err := w.gaugeOf(queue).get(ctx, keepGauges, func(ctx context.Context) (QueueState, error) {
			return gauge.Queue(ctx, queue)
		})
		switch {
		case err != nil:
			return fmt.Errorf("looking at queue '%s': %w", queue, err)
		case state.Consumers > 0:
			return nil
		case state.Consumers == 0:
			return fmt.Errorf("queue '%s': %w", queue, ErrNoWorker)
		}
	}
	if err := w.anyAlive(ctx); err != nil {
		return err
	}
	if taken, known := w.takenFrom(ctx, queue); known && !taken {
		return fmt.Errorf("queue '%s': %w", queue, ErrNoWorker)
	}
	return nil
}

// maxGauges is of how many queues the state is kept. Usually there are few.
const maxGauges = 1000

func (w *Workers) gaugeOf(queue string) *cached[QueueState] {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.gauges[queue]
	if g == nil {
		if len(w.gauges) >= maxGauges {
			clear(w.gauges)
		}
		g = new(cached[QueueState])
		w.gauges[queue] = g
	}
	return g
}

func (w *Workers) anyAlive(ctx context.Context) error {
	if w.alive(time.Now()) > 0 {
		return nil
	}
	names, err := w.pings.get(ctx, keepPings, w.Ping)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return ErrNoWorker
	}
	return nil
}

// takenFrom reports whether a worker takes tasks from the queue, if that is
// known.
func (w *Workers) takenFrom(ctx context.Context, queue string) (taken, known bool) {
	all, err := w.queues.get(ctx, keepQueues, w.ActiveQueues)
	if err != nil || len(all) == 0 {
		return false, false
	}
	for _, queues := range all {
		if slices.ContainsFunc(queues, func(q Queue) bool { return q.Name == queue }) {
			return true, true
		}
	}
	return false, true
}

// Knows reports whether a worker knows the task. If none answers, nobody can
// say, and the task counts as known.
func (w *Workers) Knows(ctx context.Context, task string) (bool, error) {
	for _, keep := range []time.Duration{keepNames, keepUnknown} {
		all, err := w.registered.get(ctx, keep, w.Registered)
		if err != nil {
			return false, err
		}
		if len(all) == 0 || isRegistered(all, task) {
			return true, nil
		}
	}
	return false, nil
}

func isRegistered(all map[string][]string, task string) bool {
	for _, names := range all {
		if slices.Contains(names, task) {
			return true
		}
	}
	return false
}

// Slots returns how many tasks all workers that answer run at once.
func (w *Workers) Slots(ctx context.Context) (int, error) {
	all, err := w.stats.get(ctx, keepStats, w.Stats)
	if err != nil {
		return 0, err
	}
	slots := 0
	for _, s := range all {
		slots += s.Slots
	}
	return slots, nil
}
