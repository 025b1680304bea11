// Package spans keeps the spans that Caddy's tracing handler exports, for tests.
package spans

import (
	"context"
	"sync"
	"testing"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Kept are the spans that were exported and not taken yet. A process has one exporter.
type Kept struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

var exporter Kept

func init() {
	autoexport.RegisterSpanExporter("kept", func(context.Context) (sdktrace.SpanExporter, error) { return &exporter, nil })
}

// Keep makes the sites of a test export their spans, without delay.
func Keep(t *testing.T) *Kept {
	t.Setenv("OTEL_TRACES_EXPORTER", "kept")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	return &exporter
}

// ExportSpans keeps spans.
func (k *Kept) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, spans...)
	return nil
}

// Shutdown does nothing.
func (*Kept) Shutdown(context.Context) error { return nil }

// Rest returns the number of spans that were not taken.
func (k *Kept) Rest() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.spans)
}

// Take waits for n spans, and returns all by their names. A name is followed by a space and the
// pool, if the span has one.
func (k *Kept) Take(t *testing.T, n int) map[string]sdktrace.ReadOnlySpan {
	t.Helper()
	named := map[string]sdktrace.ReadOnlySpan{}
	testkit.Eventually(t, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.spans) < n {
			return false
		}
		for _, span := range k.spans {
			named[span.Name()+Attribute(span, "offload.pool")] = span
		}
		k.spans = nil
		return true
	})
	return named
}

// Attribute returns the value of an attribute after a space, or nothing.
func Attribute(span sdktrace.ReadOnlySpan, key string) string {
	for _, a := range span.Attributes() {
		if string(a.Key) == key {
			return " " + a.Value.AsString()
		}
	}
	return ""
}
