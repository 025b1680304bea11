package jobs_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs"
)

// A request that does not ask for a job costs no more than the field Vary of its response.
func TestRequestsThatDoNotAskCostNothing(t *testing.T) {
	var route jobs.Route
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	h := http.Header{"Vary": make([]string, 0, 1)}
	if n := testing.AllocsPerRun(100, func() {
		h["Vary"] = h["Vary"][:0]
		if route.Takes(h, r) {
			t.Error("it becomes a job")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(h["Vary"]) != 1 || h["Vary"][0] != "Prefer" {
		t.Errorf("got %v", h)
	}
}
