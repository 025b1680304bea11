package answer

import (
	"encoding/json"
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Exception writes what a worker reported of an exception as Python's repr does,
// such as ValueError('boom'). What is none stays as it is.
func Exception(value json.RawMessage) string {
	err := celery.Result{State: celery.Failure, Value: value}.Err()
	if task, ok := errors.AsType[*celery.TaskError](err); ok && task.Type != "" {
		return task.Repr()
	}
	return string(value)
}
