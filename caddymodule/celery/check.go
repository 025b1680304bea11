package celery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// check validates the options and parses values. It serves Caddyfiles, whose errors get the
// line of the directive, and JSON.
func (h *Handler) check() error {
	return errors.Join(
		h.checkTask(),
		h.checkQueue(),
		h.checkArguments(),
		h.checkNumbers(),
		h.checkChoices(),
		h.checkErrors(),
		h.checkTogether(),
	)
}

// checkTask requires a list of tasks wherever a client chooses the task, so that no
// configuration opens all tasks of the workers by accident.
func (h *Handler) checkTask() error {
	switch dynamic := arguments.HasPlaceholder(h.Task); {
	case h.Flower && len(h.Tasks) == 0:
		return errors.New("flower needs the tasks that clients may choose: set 'tasks'")
	case h.Flower:
		return checkPatterns("tasks", h.Tasks)
	case h.Task == "":
		return errors.New("celery needs a task: set 'task'")
	case dynamic && len(h.Tasks) == 0:
		return errors.New("a task with a placeholder is chosen by clients: set 'tasks' to those that they may choose")
	case !dynamic && len(h.Tasks) > 0:
		return errors.New("'tasks' is for a task that clients choose: write a placeholder in 'task', or leave it out")
	}
	return checkPatterns("tasks", h.Tasks)
}

// checkQueue requires a list of queues wherever a client chooses the queue.
func (h *Handler) checkQueue() error {
	switch dynamic := arguments.HasPlaceholder(h.Queue); {
	case dynamic && h.Flower:
		return errors.New("flower takes the queue from the request: 'queue' is the default, without a placeholder")
	case dynamic && len(h.Queues) == 0:
		return errors.New("a queue with a placeholder is chosen by clients: set 'queues' to those that they may choose")
	case !dynamic && len(h.Queues) > 0 && !h.Flower:
		return errors.New("'queues' is for a queue that clients choose: write a placeholder in 'queue', or leave it out")
	}
	return checkPatterns("queues", h.Queues)
}

func checkPatterns(option string, patterns []string) error {
	if slices.Contains(patterns, "") {
		return fmt.Errorf("%s: a pattern is empty", option)
	}
	return nil
}

// matches reports whether a name matches one of the patterns, in which '*' matches any text.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, name) })
}

// match removes the parts between the stars from the name, each at its first occurrence.
// This finds a match if there is one, in time linear in the name for each part.
func match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok || len(parts) == 1 {
		return ok && name == ""
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = rest
	}
	return strings.HasSuffix(name, last)
}

// checkArguments parses the values of arguments and headers, and keeps them for requests.
func (h *Handler) checkArguments() error {
	var err error
	h.plan, err = arguments.NewPlan(arguments.Settings{
		Args: h.Args, ArgsFrom: h.ArgsFrom, Kwargs: h.Kwargs, KwargsFrom: h.KwargsFrom,
	})
	errs := []error{err}
	h.headers = make(map[string]arguments.Value, len(h.Headers))
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		value, err := arguments.Parse(h.Headers[name])
		if err != nil {
			err = fmt.Errorf("headers '%s' '%s': %w", name, h.Headers[name], err)
		}
		h.headers[name] = value
		errs = append(errs, err)
	}
	return errors.Join(append(errs, h.checkMessage())...)
}

// checkMessage encodes a message with the fields that are known when the configuration is
// loaded, which validates them.
func (h *Handler) checkMessage() error {
	task := celery.Task{Name: "task", Queue: h.Queue, Priority: h.Priority, Headers: make(map[string]any)}
	if h.Task != "" {
		task.Name = h.Task
	}
	for name := range h.Headers {
		task.Headers[name] = ""
	}
	if h.TimeLimit != nil {
		task.HardLimit, task.SoftLimit = time.Duration(h.TimeLimit.Hard), time.Duration(h.TimeLimit.Soft)
	}
	_, err := task.Encode(time.Now())
	return err
}

// checkNumbers validates numbers and durations of a JSON configuration. A Caddyfile's were
// validated at their lines.
func (h *Handler) checkNumbers() error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fail(h.Timeout < off, "timeout must not be negative")
	fail(h.Timeout > longestTimeout, "timeout must not be above %s", time.Duration(longestTimeout))
	fail(h.Expires < off, "expires must not be negative")
	fail(h.MaxBody < 0 || h.MaxBody > largestBody, "max_body must be from 1 to %d bytes", largestBody)
	if t := h.TimeLimit; t != nil {
		fail(t.Off != (t.Hard == 0 && t.Soft == 0), "time_limit: set a limit, or 'off' alone")
	}
	if o := h.MaxOutstanding; o != nil {
		fail(o.Count < 0 || o.PerSlot < 0 || (o.Count == 0) == (o.PerSlot == 0), "max_outstanding: set either 'count' or 'per_slot'")
	}
	return errors.Join(errs...)
}

func (h *Handler) checkChoices() error {
	var errs []error
	for _, option := range []struct {
		name, value string
		allowed     []string
	}{
		{"result", h.Result, resultValues},
		{"detail", h.Detail, detailValues},
		{"progress", h.Progress, onOff},
		{"revoke", h.Revoke, revokeValues},
		{"worker_check", h.WorkerCheck, onOff},
		{"task_check", h.TaskCheck, onOff},
	} {
		if option.value != "" && !slices.Contains(option.allowed, option.value) {
			errs = append(errs, fmt.Errorf("unknown %s '%s': want %s", option.name, option.value, strings.Join(option.allowed, " or ")))
		}
	}
	return errors.Join(errs...)
}

// Values of options with a choice.
var (
	onOff        = []string{on, offValue}
	resultValues = []string{resultJSON, resultRaw, resultHTTP, resultNone}
	detailValues = []string{detailNone, detailMessage, detailTraceback}
	revokeValues = []string{offValue, on, revokeKill}
)

// checkErrors rejects statuses that are not errors: an exception must not look like a success.
func (h *Handler) checkErrors() error {
	for _, name := range slices.Sorted(maps.Keys(h.Errors)) {
		if status := h.Errors[name]; name == "" || status < 400 || status > 599 {
			return fmt.Errorf("errors '%s' %d: want an exception and an error status from 400 to 599", name, status)
		}
	}
	return nil
}

// checkTogether rejects combinations of options that contradict each other.
func (h *Handler) checkTogether() error {
	var errs []error
	fail := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	waits := h.Result != resultNone
	fail(waits && !h.Flower && h.Backend == "", "celery needs a backend to wait for results: set 'backend', or 'result none'")
	fail(h.ContentType != "" && h.Result != resultRaw, "'content_type' is for 'result raw'")
	fail(h.IgnoreResult && waits, "'ignore_result' is for 'result none': a result that is not stored cannot be awaited")
	fail(h.Flower && len(h.Args)+len(h.ArgsFrom)+len(h.Kwargs)+len(h.KwargsFrom) > 0,
		"flower takes the arguments from the request: leave out 'args', 'args_from', 'kwargs' and 'kwargs_from'")
	fail(h.Flower && h.Task != "", "flower takes the task from the request: leave out 'task'")
	fail(h.Flower && h.Result != "", "flower has its own responses: leave out 'result'")
	return errors.Join(errs...)
}
