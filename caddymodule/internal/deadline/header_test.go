package deadline_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
)

// The field has the rest of the time in milliseconds, one at least, and grpc-timeout has its
// form. Without a limit the field of the client is removed.
func TestFieldsWithTheRestOfATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name string
			rest time.Duration // zero for no limit
			want string
		}{
			{"X-Deadline-Ms", 1500*time.Millisecond + 999*time.Microsecond, "1500"},
			{"x-deadline-ms", time.Microsecond, "1"},
			{"X-Deadline-Ms", -time.Second, "1"},
			{"X-Deadline-Ms", 0, ""},
			{"grpc-timeout", 1500 * time.Millisecond, "1500m"},
			{"grpc-timeout", 99_999_999 * time.Millisecond, "99999999m"},
			{"grpc-timeout", 100_000_000 * time.Millisecond, "100000S"},
			{"grpc-timeout", -1, "1m"},
			{"grpc-timeout", 0, ""},
		} {
			end := time.Now().Add(tt.rest)
			if tt.rest == 0 {
				end = time.Time{}
			}
			h := http.Header{"X-Deadline-Ms": {"9", "8"}, "Grpc-Timeout": {"9S"}}
			rule := deadline.Rule{Header: tt.name}
			rule.Set(h, end)
			if got := h.Values(tt.name); h.Get(tt.name) != tt.want || len(got) > 1 {
				t.Errorf("%s of %s: got %q, want %q", tt.name, tt.rest, got, tt.want)
			}
		}
	})
}
