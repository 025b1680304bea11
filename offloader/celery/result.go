package celery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// State of a task. Tasks may report states of their own, with any name.
type State string

// States that Celery reports. Success, Failure and Revoked are final: a task that
// is Aborted still ends with one of them.
const (
	Pending  State = "PENDING" // nothing is known
	Received State = "RECEIVED"
	Started  State = "STARTED"
	Retry    State = "RETRY"
	Success  State = "SUCCESS"
	Failure  State = "FAILURE"
	Revoked  State = "REVOKED"
	Aborted  State = "ABORTED" // a caller wants the task to end
)

// Final reports whether nothing comes after this state.
func (s State) Final() bool { return s == Success || s == Failure || s == Revoked }

// Result is what a worker has reported about a task: one of its states.
type Result struct {
	TaskID string
	State  State
	// Name of the task. Workers report it only if result_extended is set there.
	Name string
	// Value is what the task returned, what it says about its progress, or its
	// exception, as the worker wrote it. It may hold NaN and Infinity, which
	// are no JSON: see [Result.JSON].
	Value json.RawMessage
	// Traceback of an exception, with paths of the worker.
	Traceback string
}

// DecodeResult reads what a worker reported. What it does not know it passes
// over, and the value is left as it is. The error wraps ErrUnreadable.
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
			_ = json.Unmarshal(value, &r.Name) // what is no name says nothing
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

// stateOf reads only the state, which comes first in what workers write.
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

// JSON returns the value if it is valid JSON. The error wraps ErrNotFinite if
// NaN or Infinity is all that is wrong, else ErrUnreadable.
func (r Result) JSON() (json.RawMessage, error) {
	if json.Valid(r.Value) {
		return r.Value, nil
	}
	if json.Valid(withoutSpecials(r.Value)) {
		return nil, ErrNotFinite
	}
	return nil, fmt.Errorf("%w: it is not valid JSON", ErrUnreadable)
}

// withoutSpecials replaces the numbers that Python writes and JSON lacks.
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

// Plain is JSON with dates, decimals, UUIDs and bytes as strings instead of the
// objects that newer workers write for them. Digits and, without such objects,
// every byte stay as they are.
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

// unwrapped is a string for what was well wrapped.
func unwrapped(inner any) any {
	if fields, ok := inner.(map[string]any); ok {
		h, _ := fields["hex"].(string) // 32 digits of a UUID
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return inner
}

// Bytes returns the value of a task that returned a string or bytes.
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
