package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
)

// loadRouteJobs loads the guest of a route with these settings of jobs, nil without any. Its
// pool then has the class of jobs.
func (a *App) loadRouteJobs(ctx caddy.Context, settings json.RawMessage, pool string, at jobroute.Place) (jobhost.Route, error) {
	if !jobroute.IsSet(settings) {
		return nil, nil
	}
	if err := a.loadJobs(); err != nil {
		return nil, err
	}
	a.claims[pool].jobs = true
	return a.jobs.LoadRoute(ctx, rewireText(settings), at)
}
