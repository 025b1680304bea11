package message

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// tracerName is the instrumentation scope of the spans.
const tracerName = "github.com/caddy-offload/caddy-offload/caddymodule/jobs"

// TraceOf returns the traceparent of a request: that of its span, else the client's.
func TraceOf(r *http.Request) string {
	if text := traceparent(r.Context()); text != "" {
		return text
	}
	return r.Header.Get(traceParent)
}

// traceparent returns the traceparent of a span, empty without one.
func traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.HeaderCarrier{}
	caddyutil.Propagator().Inject(ctx, carrier)
	return http.Header(carrier).Get(traceParent)
}

// AcceptSpan is the span of the storing of a job.
type AcceptSpan struct {
	// Parent is the traceparent for the attempts of the job: that of the span, or of the
	// request if it is not traced here.
	Parent string

	span trace.Span // nil without one
}

// BeginAccept begins the span of the storing of a job, as a part of the request's. It is that
// of a producer, as OpenTelemetry's conventions for messages have it: attempts follow from it,
// perhaps in another process.
func BeginAccept(r *http.Request, id jobs.ID) AcceptSpan {
	ctx := r.Context()
	if !trace.SpanFromContext(ctx).IsRecording() {
		return AcceptSpan{Parent: TraceOf(r)}
	}
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(tracerName)
	ctx, span := tracer.Start(ctx, "offload.accept", trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("offload.job", id.Short())))
	return AcceptSpan{Parent: traceparent(ctx), span: span}
}

// End ends the span. Err is why the job was not stored, nil if it was.
func (s AcceptSpan) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}
