package celerytest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Work is a worker that takes tasks from a queue, one at a time, until the context ends. It
// reports the states that play returns for each task, in order.
func Work(ctx context.Context, s System, queue string, play func(*celery.Message) [][]byte) error {
	for {
		task, err := s.Take(ctx, queue)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // that is how it ends
		}
		if err != nil {
			return err
		}
		for _, payload := range play(task) {
			if err := s.Report(ctx, task, payload); err != nil {
				return err
			}
		}
	}
}

// State returns a reported state, in Python's formatting.
func State(id string, state celery.State, result string) []byte {
	return fmt.Appendf(nil, `{"status": %q, "result": %s, "traceback": null, "children": [], "date_done": null, "task_id": %q}`,
		state, result, id)
}

// Succeed returns the final state with a result in JSON.
func Succeed(task *celery.Message, result string) []byte {
	return State(task.CorrelationID, celery.Success, result)
}

// Raise returns the final state with an exception.
func Raise(task *celery.Message, kind, message string) []byte {
	return State(task.CorrelationID, celery.Failure,
		fmt.Sprintf(`{"exc_type": %q, "exc_message": [%q], "exc_module": "builtins"}`, kind, message))
}

// Arguments returns the positional arguments of a task.
func Arguments(task *celery.Message) []json.RawMessage {
	var body []json.RawMessage
	var args []json.RawMessage
	if json.Unmarshal(task.Body, &body) != nil || len(body) != 3 || json.Unmarshal(body[0], &args) != nil {
		return nil
	}
	return args
}

// Echo returns the first argument as the result of a task.
func Echo(task *celery.Message) [][]byte {
	args := Arguments(task)
	if len(args) == 0 {
		return [][]byte{Succeed(task, "null")}
	}
	return [][]byte{Succeed(task, string(args[0]))}
}
