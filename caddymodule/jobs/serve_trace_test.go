package jobs_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// exporter keeps the spans that Caddy's tracing handler exports.
type exporter struct {
	sync.Mutex
	spans map[string]sdktrace.ReadOnlySpan // by name
}

var exported = exporter{spans: map[string]sdktrace.ReadOnlySpan{}}

func init() {
	autoexport.RegisterSpanExporter("kept", func(context.Context) (sdktrace.SpanExporter, error) { return &exported, nil })
}

func (e *exporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.Lock()
	defer e.Unlock()
	for _, span := range spans {
		e.spans[span.Name()] = span
	}
	return nil
}

func (*exporter) Shutdown(context.Context) error { return nil }

// await returns the span with a name.
func (e *exporter) await(t *testing.T, name string) (span sdktrace.ReadOnlySpan) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		e.Lock()
		defer e.Unlock()
		span = e.spans[name]
		return span != nil
	})
	return span
}

// A job is accepted in a span of its request, and its attempt is a part of that span, with the
// tracing of the routes that run it.
func TestAttemptsArePartsOfTheAcceptance(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "kept")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	up := newUpstream()
	s := site.Serve(t, up, `
	route {
		tracing {
			span request
		}
		offload_jobs /jobs/*
		offload {
			name traced
			jobs {
				handle {
					tracing {
						span attempt
					}
					reverse_proxy UPSTREAM
				}
			}
		}
	}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Clear+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Prefer", "respond-async, wait=0")
	if res, body := site.Do(t, http.DefaultClient, req); res.StatusCode != http.StatusAccepted {
		t.Fatalf("got %s: %s", res.Status, body)
	}
	request, accept, attempt := exported.await(t, "request"), exported.await(t, "offload.accept"), exported.await(t, "attempt")
	if accept.Parent().SpanID() != request.SpanContext().SpanID() || accept.SpanKind() != trace.SpanKindProducer {
		t.Error("the acceptance is no producer in the request")
	}
	if attempt.Parent().SpanID() != accept.SpanContext().SpanID() {
		t.Error("the attempt does not follow from the acceptance")
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if got := up.came[0].Header.Get("Traceparent"); !strings.Contains(got, attempt.SpanContext().TraceID().String()) {
		t.Errorf("the upstream got %q", got)
	}
}
