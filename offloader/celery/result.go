package celery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// State is the state of a task. Tasks may report custom states with any name.
type State string

// States of Celery. Success, Failure and Revoked are final; a task in state Aborted still ends
// with one of them.
const (
	Pending  State = "PENDING" // no state is stored
	Received State = "RECEIVED"
	Started  State = "STARTED"
	Retry    State = "RETRY"
	Success  State = "SUCCESS"
	Failure  State = "FAILURE"
	Revoked  State = "REVOKED"
	Aborted  State = "ABORTED" // the task is requested to end
)

// Final reports whether the state is the last of a task.
func (s State) Final() bool { return s == Success || s == Failure || s == Revoked }

// Result is one reported state of a task, final or not.
type Result struct {
	TaskID string
	State  State
	// Name is the name of the task. Workers report it only with result_extended.
	Name string
	// Value is the result of the task, the data of its progress, or its exception, as
	// the worker wrote it. It may hold NaN and Infinity, which are not valid JSON: see
	// [Result.JSON].
	Value json.RawMessage
	// Traceback is the traceback of an exception, with paths of the worker.
	Traceback string
}

// DecodeResult decodes a reported state. It ignores unknown keys and does not decode the value.
// The error wraps ErrUnreadable.
func DecodeResult(payload []byte) (Result, error) {
	var r Result
	var fault error
	err := scanObject(payload, func(key string, value []byte) bool {
		switch key {
		case "status":
			fault = json.Unmarshal(value, &r.State)
		case "task_id":
			fault = json.Unmarshal(value, &r.TaskID)
		case "name":
			_ = json.Unmarshal(value, &r.Name) // an invalid name counts as none
		case "result":
			r.Value = value
		case "traceback":
			fault = json.Unmarshal(value, &r.Traceback)
		}
		return fault == nil
	})
	if err == nil {
		err = fault
	}
	if err == nil && r.State == "" {
		err = errNoState
	}
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if r.Value == nil {
		r.Value = json.RawMessage("null")
	}
	return r, nil
}

var errNoState = fmt.Errorf("it has no status")

// stateOf decodes only the state, which workers write first.
func stateOf(payload []byte) (State, error) {
	var state State
	fault := errNoState
	err := scanObject(payload, func(key string, value []byte) bool {
		if key == "status" {
			fault = json.Unmarshal(value, &state)
			return false
		}
		return true
	})
	if err == nil {
		err = fault
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return state, nil
}

// JSON returns the value if it is valid JSON. The error wraps ErrNotFinite if NaN or Infinity
// is the only fault, or else ErrUnreadable.
func (r Result) JSON() (json.RawMessage, error) {
	if json.Valid(r.Value) {
		return r.Value, nil
	}
	if json.Valid(withoutSpecials(r.Value)) {
		return nil, ErrNotFinite
	}
	return nil, fmt.Errorf("%w: it is not valid JSON", ErrUnreadable)
}

// withoutSpecials replaces NaN and Infinity, which Python writes and JSON lacks, by null.
func withoutSpecials(value []byte) []byte {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); {
		if value[i] == '"' {
			end := stringEnd(value, i)
			out = append(out, value[i:end]...)
			i = end
			continue
		}
		if n := specialAt(value[i:]); n > 0 {
			out = append(out, "null"...)
			i += n
			continue
		}
		out = append(out, value[i])
		i++
	}
	return out
}

func specialAt(data []byte) int {
	for _, special := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(data, []byte(special)) {
			return len(special)
		}
	}
	return 0
}

// Plain returns the value as JSON. Dates, decimals, UUIDs and bytes become strings; newer
// workers write objects for them. Numbers keep all digits, and a value without such objects
// keeps every byte.
func (r Result) Plain() (json.RawMessage, error) {
	value, err := r.JSON()
	if err != nil || !bytes.Contains(value, []byte(`"__type__"`)) {
		return value, err
	}
	decoded, err := decodeExact(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return marshal(plain(decoded))
}

func plain(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		if kind, inner, ok := wrapped(v); ok && wellWrapped(kind, inner) {
			return unwrapped(inner)
		}
		for key := range v {
			v[key] = plain(v[key])
		}
	}
	return value
}

// unwrapped returns the string of a value for which wellWrapped returned true.
func unwrapped(inner any) any {
	if fields, ok := inner.(map[string]any); ok {
		h, _ := fields["hex"].(string) // 32 digits of a UUID
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return inner
}

// Bytes returns a value that is a string or bytes. ok is false for other values.
func (r Result) Bytes() ([]byte, bool) {
	var text string
	if json.Unmarshal(r.Value, &text) == nil && bytes.HasPrefix(r.Value, []byte(`"`)) {
		return []byte(text), true
	}
	var wrapper struct {
		Type  string `json:"__type__"`
		Value string `json:"__value__"`
	}
	if json.Unmarshal(r.Value, &wrapper) != nil {
		return nil, false
	}
	switch wrapper.Type {
	case "bytes":
		return []byte(wrapper.Value), true
	case "base64":
		data, err := base64.StdEncoding.DecodeString(wrapper.Value)
		return data, err == nil
	}
	return nil, false
}
