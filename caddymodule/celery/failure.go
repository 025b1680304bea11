package celery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/answer"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// reason is one word for why a request has no result. It is the same in answers,
// logs and placeholders.
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

// statuses are what the reasons mean in HTTP. Those of a task's own exceptions
// come from the configuration.
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

// failure is why a request has no result.
type failure struct {
	reason reason
	status int
	detail string            // for the client
	err    error             // for the log
	task   *celery.TaskError // nil if it is not the task that has failed
}

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

// Unwrap leads to the error of the client of Celery.
func (f *failure) Unwrap() error { return f.err }

// Causes of the end of a request that waits.
var (
	errTimeout = errors.New("the task has not ended in time")
	errEnding  = errors.New("the proxy is ending")
)

// classes are what errors of the client of Celery mean, first match first. Their
// own words are for the log: they name servers.
var classes = []struct {
	err    error
	reason reason
	detail string
}{
	{errTimeout, timedOut, "the task has not ended in time"},
	{errEnding, draining, "the proxy is ending"},
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
	// Last: the deadline of a request has a cause above; this is one of ours for a
	// server, which is no timeout of the task.
	{context.DeadlineExceeded, unavailable, "a server behind is not available"},
}

// failureOf is the one place that knows what an error means in HTTP.
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
	case errors.Is(err, answer.ErrShape):
		f = fail(resultDoesNotFit, "the task has returned what cannot be sent")
	}
	f.err = err
	return f
}

// own are the errors that a task ends with by Celery's doing.
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

// taskFailure looks the exception up, by its full name, then by its name alone.
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

// anyException stands for all exceptions of tasks that have no line of their own.
const anyException = "*"

// retryAfter is how many seconds a client does well to wait, zero for no advice.
// It is spread, so that not all come back at once.
func (f *failure) retryAfter() int {
	switch f.reason {
	case noWorker, unavailable:
		return 5 + rand.N(6)
	case saturated, draining, spoolFull:
		return 1 + rand.N(3)
	}
	return 0
}

// problem is what a client is told. How much of an exception depends on detail.
func (f *failure) problem(id, detail string) answer.Problem {
	p := answer.Problem{Status: f.status, Reason: string(f.reason), Detail: f.detail, TaskID: id}
	if f.task == nil || detail == detailNone {
		return p
	}
	p.Exception, p.Detail = f.task.Type, f.task.Message
	if detail == detailTraceback {
		p.Traceback = f.task.Traceback
	}
	return p
}

// Words of 'detail'.
const (
	detailNone      = "none"
	detailMessage   = "message"
	detailTraceback = "traceback"
)

// sooner returns the earlier of two moments, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
