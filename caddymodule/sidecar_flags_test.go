package caddymodule

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/sidecar"
)

// Every option of the Caddyfile has a flag, and no flag is for anything else. Of the plugin for
// jobs, the options that need no thought have one.
func TestSidecarHasAFlagForEachOption(t *testing.T) {
	want := []string{"from", "to", "match", "backend", "keepalive", "root", "admin", "ready", "grace", "shutdown-delay", "access-log", "print", "jobs"}
	for prefix, options := range map[string][]string{
		"":         slices.Concat(poolOptions, routeOptions, []string{"name", "explain", "show_query"}),
		"breaker-": settings.Breaker.Names(),
		"spool-":   spoolOptions,
		"jobs-":    {"accept", "wait", "keep", "attempts", "max_body", "max_result", "store"},
	} {
		for _, option := range options {
			if option != "jobs" { // a path, not the block
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
