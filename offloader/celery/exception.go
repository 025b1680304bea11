package celery

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// exception is what a worker reports of one. What it was raised with may hold NaN and
// Infinity, which are no JSON.
type exception struct {
	kind, module string
	args         []json.RawMessage
}

// readException reads an exception. ok is false for what is none.
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

// Celery puts another exception around one that cannot be pickled, as all whose
// constructors take other arguments than they hand on. It says what was inside: the
// module, the type, the arguments and how Python shows it.
const (
	wrapperType   = "UnpickleableExceptionWrapper"
	wrapperModule = "celery.utils.serialization"
	wrapperArgs   = 4
)

// Unwrapped is the state with the exception that the task has raised, if Celery has put
// another around it, in the place of that. It is valid JSON if the other was.
func (r Result) Unwrapped() Result {
	e, ok := readException(r.Value)
	if inner := e.unwrapped(); ok && inner.kind != e.kind {
		r.Value = fmt.Appendf(nil, `{"exc_type": %s, "exc_message": %s, "exc_module": %s}`, e.args[1], inner.tuple(), e.args[0])
	}
	return r
}

// unwrapped is the exception that the task has raised.
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

// elements are the arguments of an exception. Old workers write one alone.
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

// text writes the arguments as Python's str of the exception does.
func (e exception) text() string {
	switch len(e.args) {
	case 0:
		return ""
	case 1:
		return argText(e.args[0])
	}
	return tupleRepr(e.tuple(), maxRepr)
}

// tuple of the arguments.
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

// argText is the only argument of an exception as Python's str writes it.
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
