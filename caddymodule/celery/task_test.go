package celery

import (
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// The span of a request continues in the worker, regardless of the client's headers.
func TestTraceGoesOnFromTheSpan(t *testing.T) {
	t.Parallel()
	const client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Traceparent", client)
	if got := traceContext(r)["traceparent"]; got != client {
		t.Errorf("without a span: %v", got)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	r = r.WithContext(trace.ContextWithSpanContext(r.Context(), span))
	if got := traceContext(r)["traceparent"]; got != "00-01000000000000000000000000000000-0200000000000000-01" {
		t.Errorf("in a span: %v", got)
	}
	r = httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Traceparent", "nonsense")
	if got := traceContext(r); len(got) != 0 {
		t.Errorf("of nonsense: %v", got)
	}
}
