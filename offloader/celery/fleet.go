package celery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/refresh"
)

// How long replies of workers and states of queues are cached. Those that show whether a
// worker is alive are never returned stale.
var (
	pingLifetimes  = refresh.Lifetimes{Fresh: 2 * time.Second, Retry: 2 * time.Second}
	gaugeLifetimes = refresh.Lifetimes{Fresh: 2 * time.Second, Retry: 2 * time.Second}
	queueLifetimes = refresh.Lifetimes{Fresh: 10 * time.Second, Stale: time.Minute, Retry: 2 * time.Second}
	statsLifetimes = refresh.Lifetimes{Fresh: 10 * time.Second, Stale: time.Minute, Retry: 10 * time.Second}
	// A task that is missing from the lists may have been added since, so Retry is short.
	// It is not zero, since clients can send any number of invented task names.
	taskLifetimes = refresh.Lifetimes{Fresh: time.Minute, Stale: 10 * time.Minute, Retry: 2 * time.Second}
)

// fleetCache caches the replies of all workers to one query, by the worker's name.
type fleetCache[T any] struct {
	*refresh.Cached[map[string]T]

	past map[string]T // last reply of each worker, for when it is silent; guarded by the mu of Workers
}

func newFleetCache[T any](w *Workers, q query[T], l refresh.Lifetimes) *fleetCache[T] {
	c := &fleetCache[T]{past: make(map[string]T)}
	c.Cached = refresh.New(w.refreshes, l, func(ctx context.Context, publish func(map[string]T)) error {
		replies, err := collect(ctx, w, q, publish)
		c.remember(w, replies)
		return err
	})
	return c
}

// remember keeps replies of workers, and forgets those of workers that have gone.
func (c *fleetCache[T]) remember(w *Workers, replies map[string]T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range c.past {
		if _, ok := w.seen[name]; !ok {
			delete(c.past, name)
		}
	}
	maps.Copy(c.past, replies)
}

// ofSilent returns the earlier replies of workers that are silent now. complete is false if
// one of them has never replied.
func (c *fleetCache[T]) ofSilent(ctx context.Context, w *Workers, replies map[string]T) (past map[string]T, complete bool) {
	names := silent(ctx, w, replies)
	w.mu.Lock()
	defer w.mu.Unlock()
	past, complete = make(map[string]T, len(names)), true
	for _, name := range names {
		reply, ok := c.past[name]
		if !ok {
			complete = false
			continue
		}
		past[name] = reply
	}
	return past, complete
}

// Ready returns nil if a worker that takes tasks from the queue appears to be alive. A
// worker that does not reply may be busy: it counts as alive if its last message is no
// older than the time until the context's deadline, and it is still subscribed to commands.
// The error wraps ErrNoWorker, ErrUnroutable, or ErrUnavailable if the broker is not
// reachable.
func (w *Workers) Ready(ctx context.Context, queue string) error {
	if gauge, ok := w.broker.(QueueGauge); ok {
		state, err := w.gaugeOf(gauge, queue).Get(ctx, func(QueueState) bool { return true })
		switch {
		case err != nil:
			return fmt.Errorf("inspecting queue '%s': %w", queue, err)
		case state.Consumers > 0:
			return nil
		case state.Consumers == 0:
			return fmt.Errorf("queue '%s': %w", queue, ErrNoWorker)
		}
	}
	heard, err := w.anyAlive(ctx)
	if err != nil {
		return err
	}
	switch w.takenFrom(ctx, queue) {
	case no:
		return fmt.Errorf("queue '%s': %w", queue, ErrNoWorker)
	case yes:
		if heard {
			w.trust(ctx)
		}
	case unknown:
	}
	return nil
}

// maxGauges bounds the number of queues whose state is cached. Few queues are usual; clients
// may choose among many.
const maxGauges = 1000

// Queues returns the last known states of the queues that were inspected, by name. It does
// not ask the broker.
func (w *Workers) Queues() map[string]QueueState {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]QueueState, len(w.gauges))
	for name, gauge := range w.gauges {
		if state, ok := gauge.Last(); ok {
			all[name] = state
		}
	}
	return all
}

func (w *Workers) gaugeOf(gauge QueueGauge, queue string) *refresh.Cached[QueueState] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.gauges[queue]; c != nil {
		return c
	}
	if len(w.gauges) >= maxGauges {
		clear(w.gauges)
	}
	c := refresh.New(w.refreshes, gaugeLifetimes, func(ctx context.Context, publish func(QueueState)) error {
		state, err := gauge.Queue(ctx, queue)
		if err == nil {
			publish(state)
		}
		return err
	})
	w.gauges[queue] = c
	return c
}

// anyAlive returns an error if no worker is alive. heard is false if only silent workers may
// be alive.
func (w *Workers) anyAlive(ctx context.Context) (heard bool, err error) {
	if w.alive(time.Now()) > 0 {
		return true, nil
	}
	some := func(all map[string]json.RawMessage) bool { return len(all) > 0 }
	all, err := w.pings.Get(ctx, some)
	switch {
	case err != nil:
		return false, err
	case some(all):
		return true, nil
	case len(silent(ctx, w, all)) > 0:
		return false, nil
	}
	return false, ErrNoWorker
}

// certainty is the answer to a question about all workers, which may be unknown while some
// workers are silent.
type certainty int

const (
	unknown certainty = iota
	no
	yes
)

// takenFrom reports whether a worker takes tasks from the queue.
func (w *Workers) takenFrom(ctx context.Context, queue string) certainty {
	takes := func(all map[string][]Queue) bool {
		return anyOf(all, func(queues []Queue) bool {
			return slices.ContainsFunc(queues, func(q Queue) bool { return q.Name == queue })
		})
	}
	all, err := w.queues.Get(ctx, orEmpty(takes))
	switch {
	case err != nil || len(all) == 0:
		return unknown
	case takes(all):
		return yes
	}
	if past, complete := w.queues.ofSilent(ctx, w, all); !complete || takes(past) {
		return unknown
	}
	return no
}

// Knows reports whether a worker knows the task. It returns as soon as one worker has listed
// it. The task also counts as known if no worker replies, or if a silent worker may know it.
func (w *Workers) Knows(ctx context.Context, task string) (bool, error) {
	listed := func(all map[string][]string) bool {
		return anyOf(all, func(names []string) bool { return slices.Contains(names, task) })
	}
	known := orEmpty(listed)
	all, err := w.registered.Get(ctx, known)
	if err != nil || known(all) {
		return err == nil, err
	}
	past, complete := w.registered.ofSilent(ctx, w, all)
	return !complete || listed(past), nil
}

// Slots returns how many tasks the workers that reply run at once, in all.
func (w *Workers) Slots(ctx context.Context) (int, error) {
	all, err := w.stats.Get(ctx, func(map[string]Stats) bool { return false })
	return slotsOf(all), err
}

// HaveSlots reports whether the workers run n tasks at once. It returns as soon as enough
// workers have replied. A silent worker counts with its last reply. If no worker reports its
// concurrency, it counts as enough.
func (w *Workers) HaveSlots(ctx context.Context, n int) (bool, error) {
	enough := func(all map[string]Stats) bool {
		slots := slotsOf(all)
		return slots >= n || slots == 0
	}
	all, err := w.stats.Get(ctx, enough)
	if err != nil || enough(all) {
		return err == nil, err
	}
	past, _ := w.stats.ofSilent(ctx, w, all)
	return slotsOf(all)+slotsOf(past) >= n, nil
}

func slotsOf(all map[string]Stats) int {
	slots := 0
	for _, s := range all {
		slots += s.Slots
	}
	return slots
}

func anyOf[T any](all map[string]T, is func(T) bool) bool {
	for _, one := range all {
		if is(one) {
			return true
		}
	}
	return false
}

// orEmpty returns a function that is also true for an empty result, since a refresh would
// not return more.
func orEmpty[T any](satisfied func(map[string]T) bool) func(map[string]T) bool {
	return func(all map[string]T) bool { return len(all) == 0 || satisfied(all) }
}
