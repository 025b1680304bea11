package serving

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// tracerName is the instrumentation scope of the spans.
const tracerName = "github.com/caddy-offload/caddy-offload/caddymodule"

// spans are those of a run, one after the other.
type spans struct {
	run  *Run
	span trace.Span // of the wait or the run, nil without a trace
}

// beginWait begins the span of the wait, if a handler before has begun one that
// it can be part of. Else it costs no more than to look.
func (sp *spans) beginWait() {
	if trace.SpanFromContext(sp.run.client.Context()).IsRecording() {
		sp.span = sp.begin("offload.wait")
	}
}

// beginRun ends the span of the wait and begins that of the run. What next does
// is a part of it, and what the upstream does: reverse_proxy passes the request's
// header on.
func (sp *spans) beginRun(ctx context.Context) context.Context {
	if sp.span == nil {
		return ctx
	}
	sp.end()
	sp.span = sp.begin("offload.run")
	ctx = trace.ContextWithSpan(ctx, sp.span)
	caddyutil.Propagator().Inject(ctx, propagation.HeaderCarrier(sp.run.client.Header))
	return ctx
}

func (sp *spans) begin(name string) trace.Span {
	ctx := sp.run.client.Context()
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(tracerName)
	_, span := tracer.Start(ctx, name, trace.WithAttributes(attribute.String("offload.pool", sp.run.Route.Pool.Name())))
	return span
}

// end ends a span with the outcome of the run.
func (sp *spans) end() {
	if sp.span == nil {
		return
	}
	if word := sp.run.outcomeWord(); word != "" {
		sp.span.SetAttributes(attribute.String("offload.outcome", word))
	}
	switch {
	case sp.run.reason != 0:
		sp.span.SetAttributes(attribute.String("offload.reason", sp.run.reason.String()))
		sp.span.SetStatus(codes.Error, sp.run.reason.Text())
	case sp.run.took > 0 && sp.run.outcome == offloader.Failure:
		sp.span.SetStatus(codes.Error, "")
	}
	sp.span.End()
}
