package jobroute_test

import (
	"context"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
)

// The app of a process that exits is drained before it is closed, and one that is closed
// before is not drained.
func TestDrain(t *testing.T) {
	for name, tt := range map[string]struct {
		exits bool
		want  string
	}{
		"exit":   {true, "open x, bind x, drain x, close x"},
		"reload": {false, "open x, bind x, close x"},
	} {
		t.Run(name, func(t *testing.T) {
			called.take()
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			exit, end := context.WithCancel(t.Context())
			defer end()
			var g jobroute.Guests
			if err := g.LoadApp(ctx, []byte(`{"store": "x"}`)); err != nil {
				t.Fatal(err)
			}
			if err := g.Open(); err != nil {
				t.Fatal(err)
			}
			g.Bind(exit)
			if tt.exits {
				end()
			}
			for range 2 {
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			}
			end()
			if got := called.take(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A configuration without jobs has no guests.
func TestNoGuests(t *testing.T) {
	called.take()
	var g jobroute.Guests
	if err := g.Open(); err != nil {
		t.Error(err)
	}
	g.Bind(t.Context())
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if got := called.take(); got != "" {
		t.Errorf("got %s", got)
	}
}
