// Package jobs is the plugin for jobs: requests that are stored when their clients do not
// wait for the response, and that run once their pool has a permit. It provides the guest
// modules of the handler "offload" and of its app, which docs/jobs.md describes.
//
// Package offloader/jobs has the rules for jobs, and its engines store them. This package
// makes jobs of requests, and requests of jobs.
package jobs

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/endpoint"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobadmin"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobcommand"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Route))
	caddy.RegisterModule(jobadmin.AdminAPI{})
	endpoint.Register(&reports)
	adminroute.Plug(jobview.Segment, adminroute.Plugin{Serve: jobadmin.Serve, Present: jobadmin.Present})
	admincommand.Plug(jobcommand.Command)
}
