package celery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// raised is the error of a task that has raised this.
func raised(t *testing.T, value string) *celery.TaskError {
	t.Helper()
	failed, ok := errors.AsType[*celery.TaskError](decode(t, `{"status": "FAILURE", "result": `+value+`, "task_id": "a"}`).Err())
	if !ok {
		t.Fatalf("%s is no error of a task", value)
	}
	return failed
}

const wrapper = `{"exc_type": "UnpickleableExceptionWrapper", "exc_message": [%s], "exc_module": "celery.utils.serialization"}`

// Celery wraps each exception whose constructor takes other arguments than it hands on.
// The wrapper contains the exception that the task has raised.
func TestWrappedExceptionsKeepTheirType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, kind, module, message, repr string }{
		{`"lab", "TwoArgs", ["only one"], "TwoArgs('only one')"`, "TwoArgs", "lab", "only one", "TwoArgs('only one')"},
		{`"lab", "Two", ["a", 42], "Two('a', 42)"`, "Two", "lab", "('a', 42)", "Two('a', 42)"},
		{`"lab", "Lock", ["<lock>"], null`, "Lock", "lab", "<lock>", "Lock('<lock>')"},
		{`"lab", "Empty", [], "Empty()"`, "Empty", "lab", "", "Empty()"},
		{`"lab", "Odd", [NaN, {"__type__": "base64", "__value__": "//4="}], ""`, "Odd", "lab", `(nan, b'\xff\xfe')`, `Odd(nan, b'\xff\xfe')`},
		{`"celery.exceptions", "WorkerLostError", ["gone"], ""`, "WorkerLostError", "celery.exceptions", "gone", "WorkerLostError('gone')"},
		{`"lab", "Text", "('a', <object>)", "Text()"`, "Text", "lab", "('a', <object>)", `Text("('a', <object>)")`},
	} {
		got := raised(t, fmt.Sprintf(wrapper, test.args))
		if got.Type != test.kind || got.Module != test.module || got.Message != test.message || got.Repr() != test.repr {
			t.Errorf("%s: %s.%s %s %s", test.args, got.Module, got.Type, got.Message, got.Repr())
		}
	}
	if err := raised(t, fmt.Sprintf(wrapper, `"billiard.exceptions", "WorkerLostError", ["x"], ""`)); !errors.Is(err, celery.ErrWorkerLost) {
		t.Errorf("the class of what was inside: %v", err)
	}
	for _, value := range []string{
		fmt.Sprintf(wrapper, `"lab"`), fmt.Sprintf(wrapper, `1, 2, [3], ""`), fmt.Sprintf(wrapper, `"lab", "", [], ""`),
		`{"exc_type": "UnpickleableExceptionWrapper", "exc_message": ["a", "B", [], ""], "exc_module": "mine"}`,
	} {
		if got := raised(t, value); got.Type != "UnpickleableExceptionWrapper" {
			t.Errorf("%s: %s", value, got.Type)
		}
	}
}

// A state before the final one can hold an exception too.
func TestUnwrapped(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		fmt.Sprintf(wrapper, `"lab", "A\"B", [1, "x"], ""`): `{"exc_type": "A\"B", "exc_message": [1,"x"], "exc_module": "lab"}`,
		`{"exc_type": "E", "exc_message": []}`:              `{"exc_type": "E", "exc_message": []}`,
		`{"current": 1}`:                                    `{"current": 1}`,
		"null":                                              "null",
	} {
		if got := (celery.Result{State: celery.Retry, Value: json.RawMessage(value)}).Unwrapped(); string(got.Value) != want {
			t.Errorf("%s: %s", value, got.Value)
		}
	}
}

// Numbers that JSON does not have take nothing from the rest of an exception.
func TestExceptionsWithOddNumbers(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`[NaN]`:                     "ValueError: nan",
		`[-Infinity]`:               "ValueError: -inf",
		`["a", Infinity]`:           "ValueError: ('a', inf)",
		`[[NaN, {"n": -Infinity}]]`: "ValueError: [nan, {'n': -inf}]",
		`["NaN"]`:                   "ValueError: NaN",
		`NaN`:                       "ValueError: nan",
		`[ ]`:                       "ValueError",
		`[1 2]`:                     "ValueError: [12]",
	} {
		got := raised(t, `{"exc_type": "ValueError", "exc_message": `+message+`, "exc_module": "builtins"}`)
		if got.Error() != want {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
}

// Values that workers write as objects appear in Python's notation.
func TestValuesInExceptions(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`[{"__type__": "base64", "__value__": "//4="}]`:                                       `b'\xff\xfe'`,
		`[{"__type__": "bytes", "__value__": "it's"}]`:                                        `b"it's"`,
		`["n", {"__type__": "bytes", "__value__": "a\u0000\n\\"}]`:                            `('n', b'a\x00\n\\')`,
		`[{"__type__": "decimal", "__value__": "1.50"}]`:                                      `1.50`,
		`["n", {"__type__": "decimal", "__value__": "1.50"}]`:                                 `('n', Decimal('1.50'))`,
		`["n", {"__type__": "date", "__value__": "2026-02-03"}, null, true]`:                  `('n', '2026-02-03', None, True)`,
		`[{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000007"}}, 1]`: `(UUID('00000000-0000-0000-0000-000000000007'), 1)`,
		`[{"__type__": "zzz", "__value__": 1}]`:                                               `{'__type__': 'zzz', '__value__': 1}`,
	} {
		if got := raised(t, `{"exc_type": "E", "exc_message": `+message+`}`).Message; got != want {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
}
