package caddymodule

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/sidecar"
)

// Every option of the Caddyfile has a flag, apart from the block of the plugin for jobs, and no
// flag is for anything else.
func TestSidecarHasAFlagForEachOption(t *testing.T) {
	want := []string{"from", "to", "match", "backend", "keepalive", "root", "admin", "ready", "grace", "shutdown-delay", "access-log", "print"}
	for prefix, options := range map[string][]string{
		"":         slices.Concat(poolOptions, routeOptions, []string{"name", "explain", "show_query"}),
		"breaker-": settings.Breaker.Names(),
		"spool-":   spoolOptions,
	} {
		for _, option := range options {
			if option != "jobs" {
				want = append(want, prefix+strings.ReplaceAll(option, "_", "-"))
			}
		}
	}
	var got []string
	sidecar.Command().Flags().VisitAll(func(f *pflag.Flag) { got = append(got, f.Name) })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("flags are %v, options %v", got, want)
	}
}
