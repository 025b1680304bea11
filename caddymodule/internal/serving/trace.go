package serving

import (
	"context"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// tracerName names who makes the spans.
const tracerName = "github.com/caddy-offload/caddy-offload/caddymodule"

// propagator is what Caddy's tracing handler uses: it keeps that to itself, but
// makes it from the environment, as this does.
var propagator = sync.OnceValue(func() propagation.TextMapPropagator { return autoprop.NewTextMapPropagator() })

// beginWait begins the span of the wait, if a handler before has begun one that
// it can be part of. Else it costs no more than to look.
func (run *Run) beginWait() {
	if trace.SpanFromContext(run.client.Context()).IsRecording() {
		run.span = run.newSpan("offload.wait")
	}
}

// beginRun ends the span of the wait and begins that of the run. What next does
// is a part of it, and what the upstream does: reverse_proxy passes the request's
// header on.
func (run *Run) beginRun(ctx context.Context) context.Context {
	if run.span == nil {
		return ctx
	}
	run.endSpan()
	run.span = run.newSpan("offload.run")
	ctx = trace.ContextWithSpan(ctx, run.span)
	propagator().Inject(ctx, propagation.HeaderCarrier(run.client.Header))
	return ctx
}

func (run *Run) newSpan(name string) trace.Span {
	ctx := run.client.Context()
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(tracerName)
	_, span := tracer.Start(ctx, name, trace.WithAttributes(attribute.String("offload.pool", run.Route.Pool.Name())))
	return span
}

// endSpan ends a span with what has become of the run by then.
func (run *Run) endSpan() {
	if run.span == nil {
		return
	}
	if word := run.outcomeWord(); word != "" {
		run.span.SetAttributes(attribute.String("offload.outcome", word))
	}
	switch {
	case run.reason != 0:
		run.span.SetAttributes(attribute.String("offload.reason", run.reason.String()))
		run.span.SetStatus(codes.Error, run.reason.Text())
	case run.took > 0 && run.outcome == offloader.Failure:
		run.span.SetStatus(codes.Error, "")
	}
	run.span.End()
}
