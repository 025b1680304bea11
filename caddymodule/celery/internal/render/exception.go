package render

import (
	"encoding/json"
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Exception formats a reported exception like Python's repr, such as ValueError('boom'). It
// returns any other value unchanged.
func Exception(value json.RawMessage) string {
	err := celery.Result{State: celery.Failure, Value: value}.Err()
	if task, ok := errors.AsType[*celery.TaskError](err); ok && task.Type != "" {
		return task.Repr()
	}
	return string(value)
}
