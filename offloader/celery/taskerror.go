package celery

import "strings"

// TaskError is the end of a task that did not succeed: it raised an exception, or did not run.
// It matches the outcomes such as ErrRevoked with errors.Is. The wrapper that Celery puts
// around some exceptions is removed.
type TaskError struct {
	TaskID string
	State  State
	// Type is the type of the exception, such as "ValueError" or "Outer.Inner".
	Type string
	// Module is the module of the type, such as "builtins". It may be empty.
	Module string
	// Message is the message of the exception, like Python's str.
	Message string
	// Traceback is the traceback, with paths of the worker. Do not show it to clients.
	Traceback string

	args []byte // of the exception, a JSON array as the worker wrote it
}

// Err returns nil for a task that succeeded or has not ended, and a *TaskError otherwise.
func (r Result) Err() error {
	if !r.State.Final() || r.State == Success {
		return nil
	}
	e := &TaskError{TaskID: r.TaskID, State: r.State, Traceback: r.Traceback}
	// Without an exception the fields remain empty, and the state is the outcome.
	if exception, ok := readException(r.Value); ok {
		exception = exception.unwrapped()
		e.Type, e.Module, e.Message, e.args = exception.kind, exception.module, exception.text(), exception.tuple()
	}
	return e
}

// Repr returns the exception like Python's repr, such as ValueError('boom', 42), or "" without
// an exception.
func (e *TaskError) Repr() string {
	if e.Type == "" {
		return ""
	}
	inner, _ := pythonRepr(e.args[1:len(e.args)-1], maxBody)
	return e.Type + "(" + inner + ")"
}

// Error returns the type and the message of the exception, or the state.
func (e *TaskError) Error() string {
	name := e.Type
	if name == "" {
		name = strings.ToLower(string(e.State))
	}
	if e.Message == "" {
		return name
	}
	return name + ": " + e.Message
}

// own maps the exceptions that Celery itself raises to outcomes, by their type.
var own = map[string]error{
	"NotRegistered":         ErrUnknownTask,
	"TimeLimitExceeded":     ErrTimeLimit,
	"SoftTimeLimitExceeded": ErrTimeLimit,
	"WorkerLostError":       ErrWorkerLost,
	"EncodeError":           ErrNotSerialisable,
	"Terminated":            ErrTerminated,
}

// Is implements the match of outcomes by [errors.Is].
func (e *TaskError) Is(target error) bool {
	if e.State != Revoked {
		return e.ofCelery() && own[e.Type] == target && target != nil
	}
	switch e.Message {
	case "expired":
		return target == ErrExpired
	case "terminated":
		return target == ErrTerminated
	}
	return target == ErrRevoked
}

// ofCelery reports whether the exception is Celery's, and not one of the user's with the same
// name. Old workers do not report the module.
func (e *TaskError) ofCelery() bool {
	root, _, _ := strings.Cut(e.Module, ".")
	return root == "" || root == "celery" || root == "billiard" || root == "kombu"
}
