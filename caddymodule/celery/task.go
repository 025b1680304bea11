package celery

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// taskOf makes a task of a request, as the words of the route say.
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

// complete adds what does not depend on who has chosen the task.
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

// propagator is made from the environment, as those of Caddy's tracing and of
// offload are.
var propagator = sync.OnceValue(func() propagation.TextMapPropagator { return autoprop.NewTextMapPropagator() })

// traceContext returns the headers by which a trace goes on in the worker: of the
// span that the request is in, else as the client has sent them.
func traceContext(r *http.Request) map[string]any {
	ctx := r.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagator().Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	carrier := make(propagation.MapCarrier)
	propagator().Inject(ctx, carrier)
	headers := make(map[string]any, len(carrier))
	for name, value := range carrier {
		headers[name] = value
	}
	return headers
}

// bound sets how long the task may wait and run. Zero for the deadline is none.
func (c *call) bound(deadline time.Time) {
	h, task := c.h, &c.task
	switch {
	case !task.Expires.IsZero(): // as the client has asked
	case h.Expires > 0:
		task.Expires = c.began.Add(time.Duration(h.Expires))
	case h.Expires == 0:
		task.Expires = deadline
	}
	switch t := h.TimeLimit; {
	case t == nil && !deadline.IsZero():
		// A task that has run for so long has nobody who waits for it. Whole
		// seconds: workers look at limits once a second.
		task.HardLimit = max(time.Until(deadline), 0).Truncate(time.Second) + time.Second
	case t != nil && !t.Off:
		task.HardLimit, task.SoftLimit = time.Duration(t.Hard), time.Duration(t.Soft)
	}
}
