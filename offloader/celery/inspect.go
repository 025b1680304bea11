package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// inspectTimeout is how long answers of workers are waited for. Idle ones need
// milliseconds, those that fork or swap more.
const inspectTimeout = time.Second

// errSlowBroker ends a question that the broker has not passed on in time. It is no
// deadline of a task: none was sent.
var errSlowBroker = fmt.Errorf("%w: the broker has not passed on a question", ErrUnavailable)

// Stats is what a worker tells about itself.
type Stats struct {
	// Slots is how many tasks it runs at once.
	Slots int
	// Prefetch is how many it takes from the queue at once.
	Prefetch int
	// Uptime of the worker.
	Uptime time.Duration
	// Total is how many it has taken, by name.
	Total map[string]int
}

// Queue is one from which a worker takes tasks.
type Queue struct {
	Name       string `json:"name"`
	RoutingKey string `json:"routing_key"`
}

// Inspect sends a question to all workers, or to those named, and returns what
// each answered within a second, or until the context ends. A broker that cannot
// do so is an error that wraps ErrUnsupported.
func (w *Workers) Inspect(ctx context.Context, c Command) (map[string]json.RawMessage, error) {
	answers := make(map[string]json.RawMessage)
	err := w.inspect(ctx, c, func(name string, answer json.RawMessage) { answers[name] = answer })
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// inspect calls told with each answer as it comes.
func (w *Workers) inspect(ctx context.Context, c Command, told func(name string, answer json.RawMessage)) error {
	controller, ok := w.broker.(Controller)
	if !ok {
		return fmt.Errorf("asking workers: %w by this broker", ErrUnsupported)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, errSlowBroker)
	defer cancel()
	silent := w.whoAnswers(c)
	endless := len(silent) == 0
	err := controller.Ask(ctx, c, func(body []byte) bool {
		reply, err := decodeReply(body)
		if err != nil {
			return true // what cannot be read is as good as none
		}
		for name, answer := range reply {
			delete(silent, name)
			w.note(name)
			told(name, answer)
		}
		return endless || len(silent) > 0
	})
	if err != nil {
		return fmt.Errorf("asking workers for '%s': %w", c.Method, err)
	}
	return nil
}

// whoAnswers returns the workers of whom an answer is expected. None is for nobody
// knows.
func (w *Workers) whoAnswers(c Command) map[string]struct{} {
	names := c.Destination
	if len(names) == 0 {
		names = w.heard(time.Now())
	}
	all := make(map[string]struct{}, len(names))
	for _, name := range names {
		all[name] = struct{}{}
	}
	return all
}

// inquiry is a command that all workers answer, and how an answer is read.
type inquiry[T any] struct {
	command Command
	read    func(answer []byte) (T, error)
}

// What workers are asked.
var (
	aboutLife = inquiry[json.RawMessage]{
		command: Command{Method: "ping"},
		read:    func(answer []byte) (json.RawMessage, error) { return answer, nil },
	}
	aboutStats  = inquiry[Stats]{command: Command{Method: "stats"}, read: readStats}
	aboutQueues = inquiry[[]Queue]{command: Command{Method: "active_queues"}, read: readJSON[[]Queue]}
	aboutNames  = inquiry[[]string]{
		command: Command{Method: "registered", Arguments: map[string]any{"taskinfoitems": []string{}}},
		read:    readJSON[[]string],
	}
)

func readJSON[T any](answer []byte) (value T, err error) {
	err = json.Unmarshal(answer, &value)
	return value, err
}

func readStats(answer []byte) (Stats, error) {
	var s struct {
		Pool struct {
			Slots int `json:"max-concurrency"`
		} `json:"pool"`
		Prefetch int            `json:"prefetch_count"`
		Uptime   float64        `json:"uptime"`
		Total    map[string]int `json:"total"`
	}
	err := json.Unmarshal(answer, &s)
	uptime := time.Duration(s.Uptime * float64(time.Second))
	return Stats{s.Pool.Slots, s.Prefetch, uptime, s.Total}, err
}

// gather asks workers, and returns what each has answered. told is given all that
// is known so far, each time more is. What one says that makes no sense, such as an
// error, is passed over if another makes sense.
func gather[T any](ctx context.Context, w *Workers, i inquiry[T], told func(map[string]T)) (map[string]T, error) {
	all := make(map[string]T)
	var faults []error
	err := w.inspect(ctx, i.command, func(name string, answer json.RawMessage) {
		value, err := i.read(answer)
		if err != nil {
			faults = append(faults, fmt.Errorf("the answer of worker '%s': %w", name, err))
			return
		}
		all[name] = value
		told(maps.Clone(all)) // others read it while more comes
	})
	if err == nil && len(all) == 0 {
		err = errors.Join(faults...)
	}
	return all, err
}

// Ping returns the names of the workers that answer.
func (w *Workers) Ping(ctx context.Context) ([]string, error) {
	answers, err := gather(ctx, w, aboutLife, func(map[string]json.RawMessage) {})
	return slices.Collect(maps.Keys(answers)), err
}

// Stats returns what each worker tells about itself, by its name.
func (w *Workers) Stats(ctx context.Context) (map[string]Stats, error) {
	return gather(ctx, w, aboutStats, func(map[string]Stats) {})
}

// Registered returns the names of the tasks that each worker knows.
func (w *Workers) Registered(ctx context.Context) (map[string][]string, error) {
	return gather(ctx, w, aboutNames, func(map[string][]string) {})
}

// ActiveQueues returns the queues that each worker takes tasks from.
func (w *Workers) ActiveQueues(ctx context.Context) (map[string][]Queue, error) {
	return gather(ctx, w, aboutQueues, func(map[string][]Queue) {})
}
