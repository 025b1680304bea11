package celery_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

type reportedCases struct {
	Cases []struct {
		Case      string
		TaskID    string `json:"task_id"`
		Published []struct {
			Channel, Payload string
		} `json:"published_in_order"`
	}
}

// outcomes is how each captured task ends, in the words of the final state.
var outcomes = map[string]string{
	"success":                      "SUCCESS 2432902008176640000",
	"echo":                         `SUCCESS {"args": [1, "\u00e9"], "kwargs": {"k": [null, true]}}`,
	"custom progress states":       `PROGRESS PROGRESS PROGRESS SUCCESS {"done": 3}`,
	"failure ValueError":           "FAILURE ValueError: ('boom', 42)",
	"failure custom exception":     "FAILURE LabError: own exception type",
	"retry until max":              "RETRY RETRY FAILURE RuntimeError: try again",
	"retry then success":           `RETRY SUCCESS {"retries": 1}`,
	"Ignore after custom state":    "CUSTOM_IGNORED",
	"Reject":                       "",
	"ignore_result task":           "",
	"ignore_result option":         "",
	"unknown task (NotRegistered)": "FAILURE unknown task: NotRegistered: lab.not_there",
	"bad arguments (TypeError)":    "FAILURE TypeError: heavy_task() takes 0 positional arguments but 2 were given",
	"hard time limit":              "FAILURE time limit exceeded: TimeLimitExceeded: 1 FAILURE time limit exceeded: TimeLimitExceeded: 1", // twice
	"soft time limit":              "FAILURE time limit exceeded: SoftTimeLimitExceeded",
	"worker process died":          "FAILURE worker lost: WorkerLostError: Worker exited prematurely: exitcode 3 Job: 22.",
	"expired before run":           "REVOKED expired: TaskRevokedError: expired",
}

// classes are the errors that a task's end may be.
var classes = []error{
	celery.ErrUnknownTask, celery.ErrRevoked, celery.ErrTerminated, celery.ErrExpired,
	celery.ErrTimeLimit, celery.ErrWorkerLost, celery.ErrNotSerialisable,
}

func classOf(err error) string {
	var names []string
	for _, class := range classes {
		if errors.Is(err, class) {
			names = append(names, class.Error()+": ")
		}
	}
	return strings.Join(names, "")
}

func TestWhatWorkersReportIsRead(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5.2.6", "5.6.3"} {
		seen := 0
		for _, c := range golden[reportedCases](t, "redis-results-"+version+".json").Cases {
			want, ok := outcomes[c.Case]
			if !ok {
				continue
			}
			seen++
			t.Run(version+" "+c.Case, func(t *testing.T) {
				t.Parallel()
				var states []string
				for _, p := range c.Published {
					states = append(states, described(t, p.Payload, c.TaskID))
				}
				got := strings.Join(states, " ")
				if c.Case == "worker process died" { // the number is the worker's
					got, _, _ = strings.Cut(got, " Job:")
					want, _, _ = strings.Cut(want, " Job:")
				}
				if got != want {
					t.Errorf("read as\n%s\nwant\n%s", got, want)
				}
			})
		}
		if seen != len(outcomes) {
			t.Errorf("%s: %d of %d cases", version, seen, len(outcomes))
		}
	}
}

// described is a state in words: its name and, if it is final, how it ended.
func described(t *testing.T, payload, id string) string {
	t.Helper()
	result, err := celery.DecodeResult([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	if result.TaskID != id {
		t.Errorf("it is about '%s', want '%s'", result.TaskID, id)
	}
	end := result.Err()
	switch {
	case !result.State.Final():
		return string(result.State)
	case end == nil:
		return string(result.State) + " " + string(result.Value)
	}
	return string(result.State) + " " + classOf(end) + end.Error()
}

func TestTracebacksStayApart(t *testing.T) {
	t.Parallel()
	for _, c := range golden[reportedCases](t, "redis-results-5.6.3.json").Cases {
		if c.Case != "failure ValueError" {
			continue
		}
		result, err := celery.DecodeResult([]byte(c.Published[0].Payload))
		if err != nil {
			t.Fatal(err)
		}
		var end *celery.TaskError
		if !errors.As(result.Err(), &end) {
			t.Fatal(result.Err())
		}
		if !strings.Contains(end.Traceback, "/app/tasks.py") || strings.Contains(end.Error(), "/app") || end.Module != "builtins" {
			t.Errorf("%+v", end)
		}
	}
}

func decode(t *testing.T, payload string) celery.Result {
	t.Helper()
	result, err := celery.DecodeResult([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func success(t *testing.T, value string) celery.Result {
	t.Helper()
	return decode(t, `{"status": "SUCCESS", "result": `+value+`, "children": []}`)
}

func TestValuesStayAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"1180591620717411303424", "1.50", "-0", `"\u00e9\n"`, `{"b": 1, "a": [ {} ], "b": 2}`, "null", "true", `"]}\\"`,
	} {
		result := success(t, value)
		got, err := result.JSON()
		if err != nil || string(got) != value {
			t.Errorf("%s: %s, %v", value, got, err)
		}
		if plain, err := result.Plain(); err != nil || string(plain) != value {
			t.Errorf("plain %s: %s, %v", value, plain, err)
		}
	}
}

func TestValuesThatAreNoJSON(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]error{
		"NaN":                    celery.ErrNotFinite,
		"[1, -Infinity, \"a\"]":  celery.ErrNotFinite,
		`{"NaN": [Infinity]}`:    celery.ErrNotFinite,
		`{'a': 1}`:               celery.ErrUnreadable,
		"[NaN, nope]":            celery.ErrUnreadable,
		"[1, 2":                  celery.ErrUnreadable,
		`{"NaN": "Infinity"}`:    nil,
		`{"a": "-Infinity\" x"}`: nil,
	} {
		result, err := celery.DecodeResult([]byte(`{"status": "SUCCESS", "task_id": "a", "result": ` + value + `}`))
		if err == nil {
			_, err = result.JSON()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", value, err, want)
		}
		if err == nil {
			continue
		}
		if _, plainErr := result.Plain(); result.State != "" && !errors.Is(plainErr, want) {
			t.Errorf("plain %s: %v, want %v", value, plainErr, want)
		}
	}
}

func TestWrappersBecomePlain(t *testing.T) {
	t.Parallel()
	value := `[{"__type__": "datetime", "__value__": "2020-12-10T15:45:00"}, {"__type__": "decimal", "__value__": "1.50"},` +
		` {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000007"}}, {"k": {"__type__": "date", "__value__": "2020-12-10"}},` +
		` {"__type__": "zzz", "__value__": 1}, 1180591620717411303424]`
	got, err := success(t, value).Plain()
	want := `["2020-12-10T15:45:00","1.50","00000000-0000-0000-0000-000000000007",{"k":"2020-12-10"},{"__type__":"zzz","__value__":1},1180591620717411303424]`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestStringsAndBytes(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`"text \u00e9"`: "text é",
		`{"__type__": "base64", "__value__": "AP8gcmF3"}`: "\x00\xff raw",
		`{"__type__": "bytes", "__value__": "a"}`:         "a",
		`""`: "",
	} {
		if got, ok := success(t, value).Bytes(); !ok || string(got) != want {
			t.Errorf("%s: %q %t", value, got, ok)
		}
	}
	for _, value := range []string{"1", "null", `{"__type__": "base64", "__value__": "?"}`, `{"__type__": "date", "__value__": "x"}`, "NaN", "[]"} {
		if got, ok := success(t, value).Bytes(); ok {
			t.Errorf("%s: %q", value, got)
		}
	}
}

func TestReportsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		"", "null", "[]", `"x"`, "{", `{"status"}`, `{"status":}`, `{"status": "SUCCESS"`, `{"status": 1}`, `{"a" "b"}`,
		`{"result": 1}`, "{}", "\x80\x04\x95", "\x8c\xa6status", `{"status": "SUCCESS" "x": 1}`, `{status: 1}`, `{"\ud8": 1}`, `{"\x": 1}`,
		`{"task_id": "a", "traceback": 5, "status": "SUCCESS"}`,
	} {
		if _, err := celery.DecodeResult([]byte(payload)); !errors.Is(err, celery.ErrUnreadable) {
			t.Errorf("%q: %v", payload, err)
		}
	}
	if result := decode(t, `{"status": "SUCCESS"}`); string(result.Value) != "null" {
		t.Errorf("without a result: %s", result.Value)
	}
}

func TestExceptionsOfAllAges(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"status": "FAILURE", "result": {"exc_type": "KeyError", "exc_message": "'a'"}}`:                                                     "KeyError: 'a'",
		`{"status": "FAILURE", "result": {"exc_type": "Outer.Inner", "exc_message": [], "exc_module": "m"}}`:                                  "Outer.Inner",
		`{"status": "FAILURE", "result": "words"}`:                                                                                            "failure",
		`{"status": "REVOKED", "result": null}`:                                                                                               "revoked: revoked",
		`{"status": "REVOKED", "result": {"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.exceptions"}}`: "terminated: TaskRevokedError: terminated",
		`{"status": "FAILURE", "result": {"exc_type": "EncodeError", "exc_message": ["x"], "exc_module": "kombu.exceptions"}}`:                "result not serialisable: EncodeError: x",
		`{"status": "FAILURE", "result": {"exc_type": "EncodeError", "exc_message": ["x"], "exc_module": "mine"}}`:                            "EncodeError: x",
		`{"status": "FAILURE", "result": {"exc_type": "E", "exc_message": [{"a": null}], "exc_module": "m"}}`:                                 "E: {'a': None}",
		`{"status": "FAILURE", "result": {"exc_type": "NotRegistered", "exc_message": "a.b"}}`:                                                "unknown task: NotRegistered: a.b",
	} {
		err := decode(t, payload).Err()
		if got := classOf(err) + err.Error(); got != want {
			t.Errorf("%s\nis %s, want %s", payload, got, want)
		}
	}
}

func TestRepliesOfTheRPCBackendAreRead(t *testing.T) {
	t.Parallel()
	type replies struct {
		Replies []struct {
			Properties struct {
				CorrelationID string `json:"correlation_id"`
			}
			Body string
		}
	}
	states := map[celery.State]int{}
	for _, r := range golden[replies](t, "amqp-rpc-replies-5.6.3.json").Replies {
		if !strings.HasSuffix(r.Body, "}") {
			continue // a long one that was cut in the capture
		}
		result := decode(t, r.Body)
		states[result.State]++
		if result.TaskID != r.Properties.CorrelationID {
			t.Errorf("about '%s', want '%s'", result.TaskID, r.Properties.CorrelationID)
		}
	}
	if states[celery.Success] == 0 || states[celery.Failure] == 0 || states[celery.Retry] == 0 || states["PROGRESS"] == 0 {
		t.Errorf("states: %v", states)
	}
}
