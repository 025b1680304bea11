package celery

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// flowerTask sets the task from the name and the body of a request. more are options that only
// some endpoints have.
func (tr *taskRequest) flowerTask(name string, body []byte, more map[string]flowerOption) error {
	tr.task.Name = name
	if !matches(tr.h.Tasks, name) {
		return fail(unknownTask, "there is no such task")
	}
	options := make(map[string]json.RawMessage)
	if len(body) > 0 && (json.Unmarshal(body, &options) != nil || options == nil) {
		return fail(badArguments, "want a JSON object")
	}
	tr.task.Queue, tr.task.ID, tr.task.FreshID = tr.h.Queue, tr.h.flowerID(), true
	for option, value := range options {
		read := flowerOptions[option]
		if read == nil {
			read = more[option]
		}
		if read == nil {
			return fail(badArguments, "option '%s' is not supported", option)
		}
		if err := read(tr.h, &tr.task, value); err != nil {
			return err
		}
	}
	return tr.h.complete(&tr.task, tr.r)
}

// flowerOption decodes one key of a body into the task.
type flowerOption func(h *Handler, task *celery.Task, value json.RawMessage) error

// flowerOptions are the supported options. Other keys are rejected rather than ignored.
var flowerOptions = map[string]flowerOption{
	"args":        flowerArgs,
	"kwargs":      flowerKwargs,
	"queue":       flowerQueue,
	"routing_key": flowerQueue,
	"countdown":   flowerCountdown,
	"eta":         flowerETA,
	"expires":     flowerExpires,
}

func flowerArgs(_ *Handler, task *celery.Task, value json.RawMessage) error {
	var args []json.RawMessage
	if json.Unmarshal(value, &args) != nil || args == nil {
		return fail(badArguments, "args must be an array")
	}
	for _, arg := range args {
		task.Args = append(task.Args, arg)
	}
	return nil
}

func flowerKwargs(_ *Handler, task *celery.Task, value json.RawMessage) error {
	var kwargs map[string]json.RawMessage
	if json.Unmarshal(value, &kwargs) != nil || kwargs == nil {
		return fail(badArguments, "kwargs must be an object")
	}
	task.Kwargs = make(map[string]any, len(kwargs))
	for name, arg := range kwargs {
		task.Kwargs[name] = arg
	}
	return nil
}

// flowerQueue accepts the route's queue and those of the option queues.
func flowerQueue(h *Handler, task *celery.Task, value json.RawMessage) error {
	var queue string
	if json.Unmarshal(value, &queue) != nil || (queue != h.Queue && !matches(h.Queues, queue)) {
		return fail(unknownQueue, "there is no such queue")
	}
	task.Queue = queue
	return nil
}

func flowerCountdown(_ *Handler, task *celery.Task, value json.RawMessage) error {
	seconds, ok := flowerNumber(value)
	if !ok {
		return fail(badArguments, "countdown: want a number of seconds")
	}
	task.ETA = time.Now().Add(toDuration(seconds))
	return nil
}

func flowerETA(_ *Handler, task *celery.Task, value json.RawMessage) error {
	at, ok := flowerTime(value)
	if !ok {
		return fail(badArguments, "eta: want a moment such as 2026-01-31 12:00:00.000")
	}
	task.ETA = at
	return nil
}

func flowerExpires(_ *Handler, task *celery.Task, value json.RawMessage) error {
	if seconds, ok := flowerNumber(value); ok {
		task.Expires = time.Now().Add(toDuration(seconds))
		return nil
	}
	at, ok := flowerTime(value)
	if !ok {
		return fail(badArguments, "expires: want seconds, or a moment such as 2026-01-31 12:00:00.000")
	}
	task.Expires = at
	return nil
}

// flowerTimeout decodes the client's timeout.
func flowerTimeout(value json.RawMessage) (time.Duration, error) {
	if string(value) == "null" {
		return forever, nil
	}
	seconds, ok := flowerNumber(value)
	if !ok || seconds < 0 {
		return 0, fail(badArguments, "timeout: want a number of seconds")
	}
	return toDuration(seconds), nil
}

// maxSeconds is about 30 years, which is within the range of time.Duration.
const maxSeconds = 1e9

// flowerNumber decodes a number or a string that holds one.
func flowerNumber(value json.RawMessage) (float64, bool) {
	var text string
	if json.Unmarshal(value, &text) != nil {
		text = string(value)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	return seconds, err == nil && math.Abs(seconds) < maxSeconds
}

// flowerTime decodes a time in Flower's format, in UTC.
func flowerTime(value json.RawMessage) (time.Time, bool) {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.DateTime, text) // also accepts a fraction of a second
	return at, err == nil
}

func toDuration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
