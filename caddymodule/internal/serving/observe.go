package serving

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/offloader"
)

func replacerOf(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

// shown is a run as seen by placeholders and the access log.
type shown struct{ *Run }

// publish makes the run's numbers available to placeholders and to the access log, which
// read them on demand. Of nested runs the innermost one is shown.
func (s shown) publish() {
	if s.show() != s.Run {
		return
	}
	replacerOf(s.client).Map(shown{s.Run}.placeholder)
	server, ok := s.client.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil {
		return
	}
	if extra, ok := s.client.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("offload", s))
	}
}

const placeholderPrefix = "http.offload."

// placeholder returns the value of a placeholder {http.offload.*}, false for other ones.
func (s shown) placeholder(key string) (any, bool) {
	if len(key) <= len(placeholderPrefix) || key[:len(placeholderPrefix)] != placeholderPrefix {
		return nil, false
	}
	s = shown{s.last()}
	known := s.known()
	switch key[len(placeholderPrefix):] {
	case "pool":
		return s.Route.Pool.Name(), true
	case "queue_wait":
		return known.queueWait(), true
	case "queue_wait_ms":
		return milliseconds(known.queueWait()), true
	case "run":
		return known.runTook(), true
	case "run_ms":
		return milliseconds(known.runTook()), true
	case "outcome":
		return known.outcomeWord(), true
	case "reject_reason":
		return known.reasonWord(), true
	case "id":
		return s.id().String(), true
	case "in_flight":
		n := s.Route.Pool.Gauges()
		return n.Running + n.Preflights + n.Waiting, true
	case "breaker_state":
		return s.Route.Pool.Gauges().Breaker.String(), true
	}
	return nil, false
}

// LogObject returns what the access log shows of the run that a context belongs to.
func LogObject(ctx context.Context) zapcore.ObjectMarshaler { return shown{runOf(ctx).root()} }

// MarshalLogObject writes the access log's fields.
func (s shown) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	s = shown{s.last()}
	known := s.known()
	enc.AddString("id", s.id().String())
	enc.AddString("pool", s.Route.Pool.Name())
	if known.uploadTook > 0 {
		enc.AddDuration("upload", known.uploadTook)
	}
	if kind := s.body.kindName(); kind != "" {
		enc.AddString("unspooled", kind)
	}
	if s.body.broken != nil {
		enc.AddInt64("part", s.body.spooled.Size())
	}
	enc.AddDuration("queue_wait", known.queueWait())
	if known.took > 0 {
		enc.AddDuration("run", known.took)
	}
	if sends := s.backend.sends.Load(); sends > 1 {
		enc.AddInt32("sends", sends)
	}
	if s.budget != nil {
		enc.AddDuration("budget", s.budget.Allowed)
		enc.AddString("budget_by", s.budget.By.String())
	}
	enc.AddString("outcome", known.outcomeWord())
	if known.reason != 0 {
		enc.AddString("reason", known.reason.String())
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// last returns the run whose facts are shown: the innermost of nested runs.
func (s shown) last() *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tells
}

// show makes the outermost of nested runs show the facts of this run.
func (s shown) show() (root *Run) {
	root = s.root()
	root.mu.Lock()
	defer root.mu.Unlock()
	root.tells = s.Run
	return root
}

// tracerName is the instrumentation scope of the spans.
const tracerName = "github.com/caddy-offload/caddy-offload/caddymodule"

// beginWait begins the trace span of the wait, if a handler before has begun a span that it
// can be part of.
func (sp *spans) beginWait() {
	if trace.SpanFromContext(sp.run.client.Context()).IsRecording() {
		sp.span = sp.begin("offload.wait")
	}
}

// beginRun ends the trace span of the wait and begins that of the run. Spans of the
// handlers behind and of the upstream become part of it: reverse_proxy sends the request's
// header with the span on.
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
