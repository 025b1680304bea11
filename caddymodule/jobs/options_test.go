package jobs_test

import (
	"slices"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs"
	"github.com/caddy-offload/caddy-offload/internal/testkit/adapttest"
)

// Each option has a file in which it works, and one with an error about it.
func TestOptionsHaveFiles(t *testing.T) {
	adapttest.Options(t, slices.Concat(jobs.RouteOptions(), jobs.AppOptions()))
}
