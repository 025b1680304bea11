package celery

import "strings"

// TaskError is how a task ended that did not succeed: with an exception, or
// without having run. errors.Is knows it by the errors above. An exception that Celery
// has wrapped, since it cannot be pickled, is the one that the task has raised.
type TaskError struct {
	TaskID string
	State  State
	// Type of the exception, such as "ValueError" or "Outer.Inner".
	Type string
	// Module of the type, such as "builtins". It may be empty.
	Module string
	// Message of the exception, in Python's words.
	Message string
	// Traceback with paths of the worker. Not for strangers.
	Traceback string

	args []byte // of the exception, an array as the worker wrote it
}

// Err returns nil for a task that succeeded or has not ended, else a *TaskError.
func (r Result) Err() error {
	if !r.State.Final() || r.State == Success {
		return nil
	}
	e := &TaskError{TaskID: r.TaskID, State: r.State, Traceback: r.Traceback}
	// What is no exception leaves the fields empty; the state still says enough.
	if exception, ok := readException(r.Value); ok {
		exception = exception.unwrapped()
		e.Type, e.Module, e.Message, e.args = exception.kind, exception.module, exception.text(), exception.tuple()
	}
	return e
}

// Repr writes the exception as Python's repr does, such as ValueError('boom', 42). It is
// empty if nothing is known of an exception.
func (e *TaskError) Repr() string {
	if e.Type == "" {
		return ""
	}
	inner, _ := pythonRepr(e.args[1:len(e.args)-1], maxBody)
	return e.Type + "(" + inner + ")"
}

// Error says what the worker said, without the traceback.
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

// own are exceptions of Celery itself, by their type.
var own = map[string]error{
	"NotRegistered":         ErrUnknownTask,
	"TimeLimitExceeded":     ErrTimeLimit,
	"SoftTimeLimitExceeded": ErrTimeLimit,
	"WorkerLostError":       ErrWorkerLost,
	"EncodeError":           ErrNotSerialisable,
	"Terminated":            ErrTerminated,
}

// Is makes errors.Is know the error by its class.
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

// ofCelery reports whether the exception is not one of the user's that happens
// to have the same name. Old workers do not tell the module.
func (e *TaskError) ofCelery() bool {
	root, _, _ := strings.Cut(e.Module, ".")
	return root == "" || root == "celery" || root == "billiard" || root == "kombu"
}
