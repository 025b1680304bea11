package outcome_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
)

func TestRetryAfterIsReadStrictly(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"60":                            time.Minute,
		"61":                            time.Minute,
		"99999999999999999999999":       time.Minute,
		"-1":                            0,
		"+1":                            0,
		"1.5":                           0,
		"1s":                            0,
		"soon":                          0,
		"Fri, 02 Jan 2026 03:04:12 GMT": 7 * time.Second,
		"Fri, 02 Jan 2026 04:04:12 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := outcome.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := outcome.RetryAfter(nil, now); got != 0 {
		t.Errorf("none: %s", got)
	}
}
