package celery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/render"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// reason is the identifier of the cause for which a request has no result. It is the same
// in responses, logs and placeholders.
type reason string

const (
	unknownTask       reason = "unknown_task"
	unknownQueue      reason = "unknown_queue"
	badArguments      reason = "bad_arguments"
	badMediaType      reason = "bad_media_type"
	bodyTooLarge      reason = "body_too_large"
	bodyTooSlow       reason = "body_too_slow"
	spoolFull         reason = "spool_full"
	badMethod         reason = "bad_method"
	noWorker          reason = "no_worker"
	saturated         reason = "saturated"
	unavailable       reason = "unavailable"
	draining          reason = "draining"
	unconfirmed       reason = "unconfirmed"
	timedOut          reason = "timeout"
	expired           reason = "expired"
	revoked           reason = "revoked"
	terminated        reason = "terminated"
	timeLimit         reason = "time_limit"
	workerLost        reason = "worker_lost"
	taskFailed        reason = "task_failed"
	resultLost        reason = "result_lost"
	resultTooLarge    reason = "result_too_large"
	resultUnreadable  reason = "result_unreadable"
	resultDoesNotFit  reason = "result_does_not_fit"
	resultUnsupported reason = "result_unsupported"
	internal          reason = "internal"
)

// statuses are the HTTP statuses by reason. The option errors overrides them for exceptions.
var statuses = map[reason]int{
	unknownTask:       http.StatusNotFound,
	unknownQueue:      http.StatusNotFound,
	badArguments:      http.StatusBadRequest,
	badMediaType:      http.StatusUnsupportedMediaType,
	bodyTooLarge:      http.StatusRequestEntityTooLarge,
	bodyTooSlow:       http.StatusRequestTimeout,
	spoolFull:         http.StatusServiceUnavailable,
	badMethod:         http.StatusMethodNotAllowed,
	noWorker:          http.StatusServiceUnavailable,
	saturated:         http.StatusServiceUnavailable,
	unavailable:       http.StatusServiceUnavailable,
	draining:          http.StatusServiceUnavailable,
	unconfirmed:       http.StatusBadGateway,
	timedOut:          http.StatusGatewayTimeout,
	expired:           http.StatusGatewayTimeout,
	revoked:           http.StatusGone,
	terminated:        http.StatusGone,
	timeLimit:         http.StatusGatewayTimeout,
	workerLost:        http.StatusBadGateway,
	taskFailed:        http.StatusInternalServerError,
	resultLost:        http.StatusBadGateway,
	resultTooLarge:    http.StatusBadGateway,
	resultUnreadable:  http.StatusBadGateway,
	resultDoesNotFit:  http.StatusBadGateway,
	resultUnsupported: http.StatusServiceUnavailable,
	internal:          http.StatusInternalServerError,
}

// failure is the error of a request that has no result.
type failure struct {
	reason reason
	status int
	detail string            // shown to the client
	err    error             // logged only
	task   *celery.TaskError // nil unless the task itself has failed
}

// fail returns a failure with the status of its reason. The client sees the detail, which must
// not contain names of servers or secrets.
func fail(r reason, detail string, args ...any) *failure {
	return &failure{reason: r, status: statuses[r], detail: fmt.Sprintf(detail, args...)}
}

// Error implements error.
func (f *failure) Error() string {
	if f.err != nil {
		return fmt.Sprintf("%s: %s", f.reason, f.err)
	}
	return fmt.Sprintf("%s: %s", f.reason, f.detail)
}

// Unwrap returns the error of the Celery client.
func (f *failure) Unwrap() error { return f.err }

// Causes of the end of a request that waits.
var (
	errTimeout = errors.New("the task has not ended in time")
	errEnding  = errors.New("the proxy is shutting down")
)

// classes map errors of the Celery client to reasons; the first match counts. Clients do not
// see the errors themselves, which name servers.
var classes = []struct {
	err    error
	reason reason
	detail string
}{
	{errTimeout, timedOut, "the task has not ended in time"},
	{errEnding, draining, "the proxy is shutting down"},
	{celery.ErrNoWorker, noWorker, "no worker takes tasks now"},
	{celery.ErrUnroutable, noWorker, "no worker takes tasks now"},
	{celery.ErrUnavailable, unavailable, "a server behind is not available"},
	{celery.ErrUnconfirmed, unconfirmed, "the task may or may not have been sent"},
	{celery.ErrResultLost, resultLost, "the result is lost"},
	{celery.ErrTooLarge, resultTooLarge, "the result is too large"},
	{celery.ErrNotFinite, resultUnreadable, "the result holds a number that JSON does not have"},
	{celery.ErrUnreadable, resultUnreadable, "the result cannot be read"},
	{celery.ErrUnsupported, resultUnsupported, "the result backend cannot do this"},
	{celery.ErrClosed, unavailable, "a server behind is not available"},
	// Last, since this is a timeout of a server: a deadline of the request has the cause
	// errTimeout.
	{context.DeadlineExceeded, unavailable, "a server behind is not available"},
}

// failureOf classifies an error. No other function maps errors to HTTP.
func (h *Handler) failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if task, ok := errors.AsType[*celery.TaskError](err); ok {
		return h.taskFailure(task)
	}
	for _, class := range classes {
		if errors.Is(err, class.err) {
			f := fail(class.reason, "%s", class.detail)
			f.err = err
			return f
		}
	}
	f := fail(internal, "")
	switch {
	case errors.Is(err, celery.ErrInvalidTask):
		f = fail(badArguments, "the task cannot be sent with these arguments")
	case errors.Is(err, render.ErrShape):
		f = fail(resultDoesNotFit, "the task has returned what cannot be sent")
	}
	f.err = err
	return f
}

// own maps the errors that Celery itself raises for a task to reasons.
var own = []struct {
	err    error
	reason reason
}{
	{celery.ErrUnknownTask, unknownTask},
	{celery.ErrRevoked, revoked},
	{celery.ErrTerminated, terminated},
	{celery.ErrExpired, expired},
	{celery.ErrTimeLimit, timeLimit},
	{celery.ErrWorkerLost, workerLost},
	{celery.ErrNotSerialisable, resultUnreadable},
}

// taskFailure looks the exception up in the option errors, first by module and type, then by
// type.
func (h *Handler) taskFailure(task *celery.TaskError) *failure {
	f := &failure{reason: taskFailed, err: task, task: task}
	for _, o := range own {
		if errors.Is(task, o.err) {
			f.reason = o.reason
		}
	}
	f.status = statuses[f.reason]
	for _, name := range []string{task.Module + "." + task.Type, task.Type} {
		if status, ok := h.Errors[name]; ok {
			f.status = status
			return f
		}
	}
	if status, ok := h.Errors[anyException]; ok && f.reason == taskFailed {
		f.status = status
	}
	return f
}

// anyException is the key of exceptions without a key, unless Celery itself raises them.
const anyException = "*"

// retryAfter returns the seconds of Retry-After, or zero for none. It is random, so that
// clients do not all return at the same time.
func (f *failure) retryAfter() int {
	switch f.reason {
	case noWorker, unavailable:
		return 5 + rand.N(6)
	case saturated, draining, spoolFull:
		return 1 + rand.N(3)
	}
	return 0
}

// problem returns the problem details for the client. The option detail decides how much they
// show of an exception.
func (f *failure) problem(id, detail string) render.Problem {
	p := render.Problem{Status: f.status, Reason: string(f.reason), Detail: f.detail, TaskID: id}
	if f.task == nil || detail == detailNone {
		return p
	}
	p.Exception, p.Detail = f.task.Type, f.task.Message
	if detail == detailTraceback {
		p.Traceback = f.task.Traceback
	}
	return p
}

// Values of the option detail.
const (
	detailNone      = "none"
	detailMessage   = "message"
	detailTraceback = "traceback"
)

// sooner returns the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
