package celery

import (
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// taskOf returns the task for a request, by the options of the route.
func (h *Handler) taskOf(r *http.Request, body []byte) (celery.Task, error) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	task := celery.Task{
		Name:         repl.ReplaceKnown(h.Task, ""),
		Queue:        repl.ReplaceKnown(h.Queue, ""),
		IgnoreResult: h.IgnoreResult,
	}
	if len(h.Tasks) > 0 && !matches(h.Tasks, task.Name) {
		return task, fail(unknownTask, "there is no such task")
	}
	if len(h.Queues) > 0 && !matches(h.Queues, task.Queue) {
		return task, fail(unknownQueue, "there is no such queue")
	}
	var err error
	task.Args, task.Kwargs, err = h.plan.Build(arguments.Input{
		Replacer: repl, Query: r.URL.RawQuery, ContentType: r.Header.Get("Content-Type"), Body: body,
	})
	if errors.Is(err, arguments.ErrMediaType) {
		return task, fail(badMediaType, "%s", err)
	}
	if err != nil {
		return task, fail(badArguments, "%s", err)
	}
	return task, h.complete(&task, r)
}

// complete sets the fields that are the same for tasks of the route and of Flower clients.
func (h *Handler) complete(task *celery.Task, r *http.Request) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	task.Priority = h.Priority
	task.Idempotent = h.Idempotent
	task.Headers = traceContext(r)
	for name, value := range h.headers {
		expanded, err := value.ExpandHeader(repl)
		if err != nil {
			return fail(badArguments, "headers '%s': %s", name, err)
		}
		task.Headers[name] = expanded
	}
	return nil
}

// traceContext returns the headers that continue the trace in the worker: from the request's
// span, or else from the client's headers.
func traceContext(r *http.Request) map[string]any {
	ctx := r.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = caddyutil.Propagator().Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	carrier := make(propagation.MapCarrier)
	caddyutil.Propagator().Inject(ctx, carrier)
	headers := make(map[string]any, len(carrier))
	for name, value := range carrier {
		headers[name] = value
	}
	return headers
}

// bound sets the expiry and the time limits of the task. A zero deadline means none.
func (tr *taskRequest) bound(deadline time.Time) {
	h, task := tr.h, &tr.task
	switch {
	case !task.Expires.IsZero(): // as the client has asked
	case h.Expires > 0:
		task.Expires = tr.began.Add(time.Duration(h.Expires))
	case h.Expires == 0:
		task.Expires = deadline
	}
	switch t := h.TimeLimit; {
	case t == nil && !deadline.IsZero():
		// After the deadline no request waits for the task. The limit is in whole seconds,
		// as workers check limits once a second.
		task.HardLimit = max(time.Until(deadline), 0).Truncate(time.Second) + time.Second
	case t != nil && !t.Off:
		task.HardLimit, task.SoftLimit = time.Duration(t.Hard), time.Duration(t.Soft)
	}
}
