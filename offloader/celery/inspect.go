package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// inspectTimeout is how long answers of workers are waited for. Idle ones need
// milliseconds, those that fork or swap more.
const inspectTimeout = time.Second

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
	controller, ok := w.broker.(Controller)
	if !ok {
		return nil, fmt.Errorf("asking workers: %w by this broker", ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	expected := len(c.Destination)
	if expected == 0 {
		expected = w.alive(time.Now())
	}
	answers := make(map[string]json.RawMessage)
	err := controller.Ask(ctx, c, func(body []byte) bool {
		reply, err := decodeReply(body)
		if err == nil { // what cannot be read is as good as none
			maps.Copy(answers, reply)
		}
		return len(answers) != expected
	})
	if err != nil {
		return nil, fmt.Errorf("asking workers for '%s': %w", c.Method, err)
	}
	return answers, nil
}

// Ping returns the names of the workers that answer.
func (w *Workers) Ping(ctx context.Context) ([]string, error) {
	answers, err := w.Inspect(ctx, Command{Method: "ping"})
	names := make([]string, 0, len(answers))
	for name := range answers {
		names = append(names, name)
	}
	return names, err
}

// Stats returns what each worker tells about itself, by its name.
func (w *Workers) Stats(ctx context.Context) (map[string]Stats, error) {
	answers, err := w.Inspect(ctx, Command{Method: "stats"})
	if err != nil {
		return nil, err
	}
	return decodeAnswers(answers, func(answer []byte) (Stats, error) {
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
	})
}

// Registered returns the names of the tasks that each worker knows.
func (w *Workers) Registered(ctx context.Context) (map[string][]string, error) {
	arguments := map[string]any{"taskinfoitems": []string{}}
	answers, err := w.Inspect(ctx, Command{Method: "registered", Arguments: arguments})
	if err != nil {
		return nil, err
	}
	return decodeAnswers(answers, func(answer []byte) (names []string, err error) {
		err = json.Unmarshal(answer, &names)
		return names, err
	})
}

// ActiveQueues returns the queues that each worker takes tasks from.
func (w *Workers) ActiveQueues(ctx context.Context) (map[string][]Queue, error) {
	answers, err := w.Inspect(ctx, Command{Method: "active_queues"})
	if err != nil {
		return nil, err
	}
	return decodeAnswers(answers, func(answer []byte) (queues []Queue, err error) {
		err = json.Unmarshal(answer, &queues)
		return queues, err
	})
}

// decodeAnswers decodes the answer of each worker. What one says that makes no
// sense, such as an error, is passed over if another makes sense.
func decodeAnswers[T any](answers map[string]json.RawMessage, decode func([]byte) (T, error)) (map[string]T, error) {
	decoded := make(map[string]T, len(answers))
	var errs []error
	for name, answer := range answers {
		value, err := decode(answer)
		if err != nil {
			errs = append(errs, fmt.Errorf("the answer of worker '%s': %w", name, err))
			continue
		}
		decoded[name] = value
	}
	if len(decoded) > 0 {
		return decoded, nil
	}
	return decoded, errors.Join(errs...)
}
