package celery

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// exception is a reported exception. Its arguments may hold NaN and Infinity, which are not
// valid JSON.
type exception struct {
	kind, module string
	args         []json.RawMessage
}

// readException decodes an exception. ok is false for any other value.
func readException(value []byte) (e exception, ok bool) {
	var message json.RawMessage
	var fault error
	err := scanObject(value, func(key string, value []byte) bool {
		switch key {
		case "exc_type":
			fault = json.Unmarshal(value, &e.kind)
		case "exc_module":
			fault = json.Unmarshal(value, &e.module)
		case "exc_message":
			message = value
		}
		return fault == nil
	})
	if err != nil || fault != nil {
		return exception{}, false
	}
	e.args = elements(message)
	return e, true
}

// Celery wraps exceptions that cannot be pickled, for example those whose constructors pass
// other arguments to their base than they take. The arguments of the wrapper are the module,
// the type, the arguments and the repr of the exception.
const (
	wrapperType   = "UnpickleableExceptionWrapper"
	wrapperModule = "celery.utils.serialization"
	wrapperArgs   = 4
)

// Unwrapped returns the state with the wrapper of an exception removed, if there is one. The
// value is valid JSON if it was before.
func (r Result) Unwrapped() Result {
	e, ok := readException(r.Value)
	if inner := e.unwrapped(); ok && inner.kind != e.kind {
		r.Value = fmt.Appendf(nil, `{"exc_type": %s, "exc_message": %s, "exc_module": %s}`, e.args[1], inner.tuple(), e.args[0])
	}
	return r
}

// unwrapped returns the exception that the task has raised, without a wrapper.
func (e exception) unwrapped() exception {
	if e.kind != wrapperType || e.module != wrapperModule && e.module != "" || len(e.args) < wrapperArgs-1 {
		return e
	}
	var inner exception
	if json.Unmarshal(e.args[0], &inner.module) != nil || json.Unmarshal(e.args[1], &inner.kind) != nil || inner.kind == "" {
		return e
	}
	inner.args = elements(e.args[2])
	return inner
}

// elements returns the arguments of an exception. Old workers write a single one without an
// array.
func elements(message json.RawMessage) []json.RawMessage {
	if len(message) == 0 {
		return nil
	}
	args, ok := scanArray(message)
	if !ok {
		return []json.RawMessage{message}
	}
	return args
}

// text returns the message of the exception, like Python's str.
func (e exception) text() string {
	switch len(e.args) {
	case 0:
		return ""
	case 1:
		return argText(e.args[0])
	}
	return tupleRepr(e.tuple(), maxRepr)
}

// tuple returns the arguments as a JSON array.
func (e exception) tuple() []byte {
	return append(append([]byte("["), bytes.Join(asBytes(e.args), []byte(","))...), ']')
}

func asBytes(args []json.RawMessage) [][]byte {
	all := make([][]byte, len(args))
	for i, arg := range args {
		all[i] = arg
	}
	return all
}

// argText returns the single argument of an exception, like Python's str.
func argText(arg json.RawMessage) string {
	var text string
	if bytes.HasPrefix(arg, []byte(`"`)) && json.Unmarshal(arg, &text) == nil {
		return text
	}
	if kind, text, ok := unwrap(arg); ok && kind != "bytes" && kind != "base64" {
		return text
	}
	return valueRepr(arg, maxRepr)
}
