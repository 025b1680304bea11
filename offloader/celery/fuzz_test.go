package celery_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// poison returns the part of a message that would kill a worker or make it drop the message, or
// "" for a valid one. It follows experiments with broken envelopes, and is independent of the
// encoder.
func poison(m *celery.Message) string {
	raw, err := m.Envelope(0)
	if err != nil {
		return "no envelope: " + err.Error()
	}
	var e struct {
		Body            string
		ContentType     string `json:"content-type"`
		ContentEncoding string `json:"content-encoding"`
		Headers         map[string]any
		Properties      struct {
			DeliveryTag  string             `json:"delivery_tag"`
			BodyEncoding string             `json:"body_encoding"`
			DeliveryInfo map[string]*string `json:"delivery_info"`
		}
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return "the envelope is not JSON: " + err.Error()
	}
	info := e.Properties.DeliveryInfo
	switch {
	case !utf8.Valid(raw):
		return "the envelope is not UTF-8"
	case len(e.Properties.DeliveryTag) != 36:
		return "no delivery tag"
	case info["exchange"] == nil || info["routing_key"] == nil || *info["routing_key"] == "":
		return "no delivery info"
	case e.ContentType != "application/json" || e.ContentEncoding != "utf-8" || e.Properties.BodyEncoding != "base64":
		return "another content: " + e.ContentType
	}
	for _, name := range []string{"task", "id"} {
		if text, ok := e.Headers[name].(string); !ok || text == "" {
			return "no header " + name
		}
	}
	for _, name := range []string{"eta", "expires"} {
		if text, ok := e.Headers[name].(string); ok {
			if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
				return name + ": " + err.Error()
			}
		}
	}
	if e.Headers["task"] != m.Headers["task"] || e.Headers["id"] != m.CorrelationID {
		return "the headers are not the task's"
	}
	body, err := base64.StdEncoding.DecodeString(e.Body)
	if err != nil {
		return "the body is not base64"
	}
	return poisonedBody(body)
}

func poisonedBody(body []byte) string {
	var parts []json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil || !utf8.Valid(body) {
		return fmt.Sprintf("the body is not JSON: %v", err)
	}
	if len(parts) != 3 {
		return fmt.Sprintf("the body has %d elements", len(parts))
	}
	for i, first := range "[{{" {
		if !strings.HasPrefix(string(parts[i]), string(first)) {
			return fmt.Sprintf("element %d is %s", i, parts[i])
		}
	}
	var kwargs map[string]json.RawMessage
	if err := json.Unmarshal(parts[1], &kwargs); err != nil {
		return "kwargs: " + err.Error()
	}
	if len(kwargs) == 2 && kwargs["__type__"] != nil && kwargs["__value__"] != nil {
		return "the kwargs are one value"
	}
	return unreadable(string(body))
}

// unreadable finds valid JSON that Python's decoder rejects.
func unreadable(body string) string {
	depth, digits, deepest := 0, 0, 0
	inString := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		case '0' <= c && c <= '9':
			if digits++; digits > 4300 {
				return "too many digits"
			}
			continue
		}
		digits = 0
	}
	if deepest > 500 {
		return fmt.Sprintf("%d levels", deepest)
	}
	return ""
}

func FuzzEncode(f *testing.F) {
	f.Add("lab.echo", "id", "celery", `[1]`, `{"k":null}`, "x-trace", "v", int64(1e9), int64(1e9))
	f.Add("", "\x00", "a\x06\x163", `[{"__type__":"zzz","__value__":1}]`, `{"a":[[[[]]]]}`, "task", "\xff", int64(-1), int64(1<<62))
	f.Add("t", "req/42:ü", "q", `[NaN]`, `{"":"\ud800"}`, "__class__", "", int64(0), int64(0))
	f.Add("t", "i", "q", `[1],[2]`, `{}}`, "id", "v", int64(1<<40), int64(3))
	f.Fuzz(func(t *testing.T, name, id, queue, args, kwargs, header, value string, at, limit int64) {
		task := celery.Task{
			Name: name, ID: id, Queue: queue, Shadow: value,
			Args:      []any{json.RawMessage(args)},
			Kwargs:    map[string]any{header: json.RawMessage(kwargs), value: value},
			Headers:   map[string]any{header: value, "x": []any{value}},
			Expires:   time.Unix(at, 0),
			ETA:       time.Unix(0, at),
			HardLimit: time.Duration(limit),
			Priority:  new(int(limit % 16)),
		}
		m, err := task.Encode(time.Unix(0, 0))
		if err != nil {
			if !errors.Is(err, celery.ErrInvalidTask) || m != nil {
				t.Fatal(err)
			}
			return
		}
		if fault := poison(m); fault != "" {
			t.Fatalf("%s: %s", fault, m.Body)
		}
		wire, err := m.Envelope(*m.Priority)
		if err != nil {
			t.Fatal(err)
		}
		again, err := celery.OpenEnvelope(wire)
		if err != nil || string(again.Body) != string(m.Body) || again.CorrelationID != m.CorrelationID || again.RoutingKey != m.RoutingKey {
			t.Fatalf("read back as %+v, %v", again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"status": "SUCCESS", "result": 2432902008176640000, "traceback": null, "children": [], "task_id": "a"}`,
		`{"status": "SUCCESS", "result": [NaN, -Infinity, {"a": "]}\""}], "task_id": "a"}`,
		`{"task_id": "a", "status": "FAILURE", "result": {"exc_type": "E", "exc_message": ["x", 1], "exc_module": "m"}}`,
		`{"status": "FAILURE", "result": {"exc_type": "E", "exc_message": [NaN, {"__type__": "bytes", "__value__": "x"}, [1, "]"]]}, "name": 5}`,
		`{"status": "RETRY", "result": {"exc_type": "UnpickleableExceptionWrapper", "exc_message": ["m", "E", [1, "x"], ""]}}`,
		`{"status": "SUCCESS", "result": {"__type__": "base64", "__value__": "AP8gcmF3"}}`,
		`{"status"`, `{"a":}`, `{}`, `[]`, ``, "\x80\x04K", `{"status": 5}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		result, err := celery.DecodeResult(payload)
		if err != nil {
			if !errors.Is(err, celery.ErrUnreadable) {
				t.Fatal(err)
			}
			return
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(payload, &fields) == nil {
			var state celery.State
			if json.Unmarshal(fields["status"], &state) != nil || state != result.State {
				t.Fatalf("read as %q: %s", result.State, payload)
			}
		}
		value, err := result.JSON()
		if err == nil && !json.Valid(value) || err != nil && !errors.Is(err, celery.ErrUnreadable) && !errors.Is(err, celery.ErrNotFinite) {
			t.Fatalf("value %q, %v", value, err)
		}
		if plain, err := result.Plain(); err == nil && !json.Valid(plain) {
			t.Fatalf("plain value %q", plain)
		}
		_, _ = result.Bytes()
		if failed, ok := errors.AsType[*celery.TaskError](result.Err()); ok {
			if failed.Error() == "" || (failed.Type == "") != (failed.Repr() == "") {
				t.Fatalf("an error without words: %q", failed.Repr())
			}
		}
		if inner := result.Unwrapped(); err == nil && !json.Valid(inner.Value) {
			t.Fatalf("unwrapped value %q", inner.Value)
		}
	})
}

func FuzzOpenEnvelope(f *testing.F) {
	f.Add([]byte(`{"body": "e30=", "headers": {}, "properties": {"body_encoding": "base64"}}`))
	f.Add([]byte(`{"body": "eJw=", "headers": {"compression": "application/x-gzip"}, "properties": {"expiration": "12"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := celery.OpenEnvelope(data)
		if err == nil && m.Priority == nil {
			t.Fatal("no priority")
		}
	})
}
