package jobs_test

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/internal/testkit/spans"
)

// A job is accepted in a span of its request, and its attempt is a part of that span, with the
// tracing of the routes that run it.
func TestAttemptsArePartsOfTheAcceptance(t *testing.T) {
	exported := spans.Keep(t)
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
	taken := exported.Take(t, 3)
	request, accept, attempt := taken["request"], taken["offload.accept"], taken["attempt"]
	if request == nil || accept == nil || attempt == nil {
		t.Fatalf("got %v", taken)
	}
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
