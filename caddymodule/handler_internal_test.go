package caddymodule

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// An abandoned run may continue for its timeout once more, and for 30 s at least. Without
// timeouts it has no limit.
func TestDefaultAbandonTimeout(t *testing.T) {
	t.Parallel()
	for longest, want := range map[time.Duration]caddy.Duration{
		0:                optionvalue.Off,
		time.Second:      caddy.Duration(30 * time.Second),
		30 * time.Second: caddy.Duration(30 * time.Second),
		time.Minute:      caddy.Duration(time.Minute),
		time.Hour:        caddy.Duration(time.Hour),
	} {
		if got := defaultAbandonTimeout(longest); got != want {
			t.Errorf("%s: got %s, want %s", longest, time.Duration(got), time.Duration(want))
		}
	}
}
