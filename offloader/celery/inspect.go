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

// inspectTimeout is how long a command waits for replies. Idle workers reply within
// milliseconds; workers that fork or swap take longer.
const inspectTimeout = time.Second

// errSlowBroker is the error of a command that the broker has not delivered in time. It
// does not wrap context.DeadlineExceeded, which callers would take for the deadline of a
// task.
var errSlowBroker = fmt.Errorf("%w: the broker has not delivered a command", ErrUnavailable)

// Stats are the numbers that a worker reports about itself.
type Stats struct {
	// Slots is the number of tasks that the worker runs at once.
	Slots int
	// Prefetch is the number of tasks that it takes from the queue ahead.
	Prefetch int
	// Uptime is the age of its process.
	Uptime time.Duration
	// Total counts the tasks that it has taken, by name.
	Total map[string]int
}

// Queue is a queue from which a worker takes tasks.
type Queue struct {
	Name       string `json:"name"`
	RoutingKey string `json:"routing_key"`
}

// Inspect sends a command to all workers, or to the command's Destination, and returns the
// replies by the workers' names. It waits for one second at most. The error wraps
// ErrUnsupported if the broker is no Controller.
func (w *Workers) Inspect(ctx context.Context, c Command) (map[string]json.RawMessage, error) {
	replies := make(map[string]json.RawMessage)
	err := w.inspect(ctx, c, func(name string, reply json.RawMessage) { replies[name] = reply })
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// inspect calls receive with each reply as it comes.
func (w *Workers) inspect(ctx context.Context, c Command, receive func(name string, reply json.RawMessage)) error {
	controller, ok := w.broker.(Controller)
	if !ok {
		return fmt.Errorf("inspecting workers: %w by this broker", ErrUnsupported)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, errSlowBroker)
	defer cancel()
	missing := w.expected(c)
	countUnknown := len(missing) == 0
	err := controller.Ask(ctx, c, func(body []byte) bool {
		replies, err := decodeReply(body)
		if err != nil {
			return true // an unreadable reply counts as none
		}
		for name, reply := range replies {
			delete(missing, name)
			w.note(name)
			receive(name, reply)
		}
		return countUnknown || len(missing) > 0
	})
	if err != nil {
		return fmt.Errorf("inspecting workers by '%s': %w", c.Method, err)
	}
	return nil
}

// expected returns the workers that should reply. An empty set means that the workers are
// unknown.
func (w *Workers) expected(c Command) map[string]struct{} {
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

// query is a command to all workers with the decoder of their replies.
type query[T any] struct {
	command Command
	decode  func(reply []byte) (T, error)
}

// Queries by the type of their replies.
var (
	pingQuery = query[json.RawMessage]{
		command: Command{Method: "ping"},
		decode:  func(reply []byte) (json.RawMessage, error) { return reply, nil },
	}
	statsQuery  = query[Stats]{command: Command{Method: "stats"}, decode: decodeStats}
	queuesQuery = query[[]Queue]{command: Command{Method: "active_queues"}, decode: decodeJSON[[]Queue]}
	tasksQuery  = query[[]string]{
		command: Command{Method: "registered", Arguments: map[string]any{"taskinfoitems": []string{}}},
		decode:  decodeJSON[[]string],
	}
)

func decodeJSON[T any](reply []byte) (value T, err error) {
	err = json.Unmarshal(reply, &value)
	return value, err
}

func decodeStats(reply []byte) (Stats, error) {
	var s struct {
		Pool struct {
			Slots int `json:"max-concurrency"`
		} `json:"pool"`
		Prefetch int            `json:"prefetch_count"`
		Uptime   float64        `json:"uptime"`
		Total    map[string]int `json:"total"`
	}
	err := json.Unmarshal(reply, &s)
	uptime := time.Duration(s.Uptime * float64(time.Second))
	return Stats{s.Pool.Slots, s.Prefetch, uptime, s.Total}, err
}

// collect sends a query to all workers and returns the decoded replies. It calls publish with
// all replies so far after each one. A reply that cannot be decoded, such as an error, is
// ignored unless no other comes.
func collect[T any](ctx context.Context, w *Workers, q query[T], publish func(map[string]T)) (map[string]T, error) {
	all := make(map[string]T)
	var faults []error
	err := w.inspect(ctx, q.command, func(name string, reply json.RawMessage) {
		value, err := q.decode(reply)
		if err != nil {
			faults = append(faults, fmt.Errorf("reply of worker '%s': %w", name, err))
			return
		}
		all[name] = value
		publish(maps.Clone(all)) // readers keep it, and all grows
	})
	if err == nil && len(all) == 0 {
		err = errors.Join(faults...)
	}
	return all, err
}

// Ping returns the names of the workers that reply.
func (w *Workers) Ping(ctx context.Context) ([]string, error) {
	replies, err := collect(ctx, w, pingQuery, func(map[string]json.RawMessage) {})
	return slices.Collect(maps.Keys(replies)), err
}

// Stats returns what each worker reports about itself, by the worker's name.
func (w *Workers) Stats(ctx context.Context) (map[string]Stats, error) {
	return collect(ctx, w, statsQuery, func(map[string]Stats) {})
}

// Registered returns the names of the tasks that each worker knows.
func (w *Workers) Registered(ctx context.Context) (map[string][]string, error) {
	return collect(ctx, w, tasksQuery, func(map[string][]string) {})
}

// ActiveQueues returns the queues from which each worker takes tasks.
func (w *Workers) ActiveQueues(ctx context.Context) (map[string][]Queue, error) {
	return collect(ctx, w, queuesQuery, func(map[string][]Queue) {})
}
