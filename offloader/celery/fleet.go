package celery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// How long answers are good. Some serve while they are asked again; whether somebody
// is there is always asked anew.
var (
	timesOfPings  = times{keep: 2 * time.Second, again: 2 * time.Second}
	timesOfGauges = times{keep: 2 * time.Second, again: 2 * time.Second}
	timesOfQueues = times{keep: 10 * time.Second, serve: time.Minute, again: 2 * time.Second}
	timesOfStats  = times{keep: 10 * time.Second, serve: time.Minute, again: 10 * time.Second}
	// A task that was not known may have been added: that is asked sooner, and not
	// as often as somebody makes names up.
	timesOfNames = times{keep: time.Minute, serve: 10 * time.Minute, again: 2 * time.Second}
)

// survey is a question to all workers.
type survey[T any] struct {
	question[map[string]T]

	past map[string]T // what each worker has answered last, guarded by the workers' mu
}

func newSurvey[T any](w *Workers, i inquiry[T], t times) *survey[T] {
	s := &survey[T]{past: make(map[string]T)}
	s.asking, s.times = w.asking, t
	s.ask = func(ctx context.Context, told func(map[string]T)) error {
		answers, err := gather(ctx, w, i, told)
		s.remember(w, answers)
		return err
	}
	return s
}

// Ready returns nil if a worker seems to be there that takes tasks from the
// queue. One that was heard in as long a time as the context has left, and does not
// answer, may be busy: it counts while it listens to commands. The error wraps
// ErrNoWorker or ErrUnroutable if none is there, and ErrUnavailable if the broker is
// not there either.
func (w *Workers) Ready(ctx context.Context, queue string) error {
	if gauge, ok := w.broker.(QueueGauge); ok {
		state, err := w.gaugeOf(gauge, queue).get(ctx, func(QueueState) bool { return true })
		switch {
		case err != nil:
			return fmt.Errorf("looking at queue '%s': %w", queue, err)
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

// maxGauges is of how many queues the state is kept. Usually there are few.
const maxGauges = 1000

func (w *Workers) gaugeOf(gauge QueueGauge, queue string) *question[QueueState] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.gauges[queue]; q != nil {
		return q
	}
	if len(w.gauges) >= maxGauges {
		clear(w.gauges)
	}
	q := &question[QueueState]{asking: w.asking, times: timesOfGauges}
	q.ask = func(ctx context.Context, told func(QueueState)) error {
		state, err := gauge.Queue(ctx, queue)
		if err == nil {
			told(state)
		}
		return err
	}
	w.gauges[queue] = q
	return q
}

// anyAlive fails if no worker is there. heard tells that one was heard lately.
func (w *Workers) anyAlive(ctx context.Context) (heard bool, err error) {
	if w.alive(time.Now()) > 0 {
		return true, nil
	}
	some := func(all map[string]json.RawMessage) bool { return len(all) > 0 }
	all, err := w.pings.get(ctx, some)
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

// certainty is what can be said about a queue.
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
	all, err := w.queues.get(ctx, orNobody(takes))
	switch {
	case err != nil || len(all) == 0:
		return unknown
	case takes(all):
		return yes
	}
	if past, sure := w.queues.ofSilent(ctx, w, all); !sure || takes(past) {
		return unknown
	}
	return no
}

// Knows reports whether a worker knows the task, as soon as one has said so. If
// none answers, nobody can say, and the task counts as known; so it does if a silent
// worker may know it.
func (w *Workers) Knows(ctx context.Context, task string) (bool, error) {
	listed := func(all map[string][]string) bool {
		return anyOf(all, func(names []string) bool { return slices.Contains(names, task) })
	}
	known := orNobody(listed)
	all, err := w.registered.get(ctx, known)
	if err != nil || known(all) {
		return err == nil, err
	}
	past, sure := w.registered.ofSilent(ctx, w, all)
	return !sure || listed(past), nil
}

// Slots returns how many tasks all workers that answer run at once.
func (w *Workers) Slots(ctx context.Context) (int, error) {
	all, err := w.stats.get(ctx, func(map[string]Stats) bool { return false })
	return slotsOf(all), err
}

// HaveSlots reports whether the workers run n tasks at once, as soon as enough of
// them have said so. Those of silent workers count as they were. If none tells, nobody
// can say, and they count as enough.
func (w *Workers) HaveSlots(ctx context.Context, n int) (bool, error) {
	enough := func(all map[string]Stats) bool {
		slots := slotsOf(all)
		return slots >= n || slots == 0
	}
	all, err := w.stats.get(ctx, enough)
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

// orNobody is content as well if nobody has answered: who asks again is not told
// more.
func orNobody[T any](content func(map[string]T) bool) func(map[string]T) bool {
	return func(all map[string]T) bool { return len(all) == 0 || content(all) }
}
