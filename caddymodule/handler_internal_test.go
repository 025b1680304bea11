package caddymodule

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// A run may go on without its client for as long as it could with it, and for 30 s at
// least; where runs may take as long as they like, so may these.
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
