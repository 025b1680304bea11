package celery

import (
	"encoding/json"
	"strings"
)

// TaskError is how a task ended that did not succeed: with an exception, or
// without having run. errors.Is knows it by the errors above.
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
}

// Err returns nil for a task that succeeded or has not ended, else a *TaskError.
func (r Result) Err() error {
	if !r.State.Final() || r.State == Success {
		return nil
	}
	e := &TaskError{TaskID: r.TaskID, State: r.State, Traceback: r.Traceback}
	var exception struct {
		Type    string          `json:"exc_type"`
		Message json.RawMessage `json:"exc_message"`
		Module  string          `json:"exc_module"`
	}
	// What is no exception leaves the fields empty; the state still says enough.
	if json.Unmarshal(r.Value, &exception) == nil {
		e.Type, e.Module = exception.Type, exception.Module
		e.Message = messageText(exception.Message)
	}
	return e
}

// messageText writes the arguments of an exception as Python's str does.
func messageText(message json.RawMessage) string {
	var args []json.RawMessage
	if len(message) == 0 {
		return ""
	}
	if json.Unmarshal(message, &args) != nil {
		args = []json.RawMessage{message}
	}
	if len(args) != 1 {
		if compact, err := marshal(args); err == nil && len(args) > 0 {
			return tupleRepr(compact)
		}
		return ""
	}
	var text string
	if json.Unmarshal(args[0], &text) == nil {
		return text
	}
	compact, err := marshal(args[0])
	if err != nil {
		return ""
	}
	return objectRepr(compact)
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
