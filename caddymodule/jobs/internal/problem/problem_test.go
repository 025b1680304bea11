package problem

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestDocument(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	Problem{Type: QueueFull, RetryAfter: 1500 * time.Millisecond, More: map[string]any{"id": "x"}}.Write(w)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"type": "urn:caddy-offload:jobs:queue_full", "title": "Service Unavailable", "status": 503.0,
		"detail": QueueFull.Detail, "reason": "queue_full", "retry_after": 2.0, "id": "x",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if w.Code != 503 || w.Header().Get("Content-Type") != "application/problem+json" ||
		w.Header().Get("Retry-After") != "2" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

// An answer to a request that cannot be served later has no time for another one.
func TestNoRetryAfterWithoutLater(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	Problem{Type: KeyBad, Detail: "two fields", RetryAfter: time.Second}.Write(w)
	if w.Code != 400 || w.Header().Get("Retry-After") != "" || !strings.Contains(w.Body.String(), `"detail":"two fields"`) {
		t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestErrorsHaveTypes(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]Type{
		jobs.ErrQueueFull: QueueFull, jobs.ErrTenantLimit: TenantLimit, jobs.ErrKeyReused: KeyReused, jobs.ErrStopping: Stopping,
		jobs.ErrFull: StoreFull, jobs.ErrBroken: StoreUnavailable, jobs.ErrEngineClosed: Stopping,
		jobs.ErrUnknown: UnknownJob, jobs.ErrBadID: UnknownJob, jobs.ErrTerminal: Ended, jobs.ErrNotTerminal: NotEnded,
		jobs.ErrNoResult: NoResult, jobs.ErrStale: Internal,
	} {
		if got := Of(fmt.Errorf("accepting: %w", err)).Type; got != want {
			t.Errorf("%v: %s, want %s", err, got.Reason, want.Reason)
		}
	}
}

func TestLimitsOfTenantsAreNamed(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"queue", "bytes", "rate"} {
		got := Of(fmt.Errorf("retrying: %w", &jobs.QuotaError{Limit: limit, RetryAfter: 3 * time.Second}))
		if got.Type != TenantLimit || got.Detail == "" || got.More["limit"] != limit || got.RetryAfter != 3*time.Second {
			t.Errorf("%s: got %+v", limit, got)
		}
	}
}

func TestTypesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, one := range Types() {
		if seen[one.URI()] || one.Status < 400 || one.Detail == "" {
			t.Errorf("bad type %+v", one)
		}
		seen[one.URI()] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d types", len(seen))
	}
}
