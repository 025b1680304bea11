// Package jobadmin is the part of Caddy's admin endpoint that shows and controls jobs, as
// docs/openapi.yaml describes it.
package jobadmin

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// AdminAPI is the part of the admin endpoint. It uses the store of the process, and never a
// configuration.
type AdminAPI struct{}

// CaddyModule describes the module.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.offload_jobs", New: func() caddy.Module { return new(AdminAPI) }}
}

// Routes returns the routes: the list of jobs, and all below it.
func (AdminAPI) Routes() []caddy.AdminRoute {
	handler := caddy.AdminHandlerFunc(Serve)
	return []caddy.AdminRoute{
		{Pattern: adminroute.Prefix + jobview.Segment, Handler: handler},
		{Pattern: adminroute.Prefix + jobview.Segment + "/", Handler: handler},
	}
}

// Present reports whether there are jobs to show.
func Present() bool { return store.Current() != nil }

// endpoints lists all endpoints, as docs/openapi.yaml describes them.
var endpoints = adminroute.Endpoints[*call]{
	"jobs":             adminroute.Get(listJobs),
	"jobs/usage":       adminroute.Get(showUsage),
	"jobs/{id}":        {http.MethodGet: showJob, http.MethodDelete: forgetJob},
	"jobs/{id}/retry":  adminroute.Post(retryJob),
	"jobs/{id}/cancel": adminroute.Post(cancelJob),
}

// Serve answers a request.
func Serve(w http.ResponseWriter, r *http.Request) error {
	return endpoints.Serve(w, r, func(c adminroute.Call) *call { return &call{c} })
}

func showUsage(c *call) error {
	service, err := c.service()
	if err != nil {
		return err
	}
	usage, err := service.Usage(c.R.Context())
	if err != nil {
		return failure(err)
	}
	return c.Answer(http.StatusOK, summary(store.Current().Folder, service.Stats(), usage))
}

func showJob(c *call) error {
	return c.onJob(func(ctx context.Context, s *jobs.Service, id jobs.ID) (jobs.View, error) { return s.Get(ctx, id) })
}

func retryJob(c *call) error {
	return c.onJob(func(ctx context.Context, s *jobs.Service, id jobs.ID) (jobs.View, error) {
		v, err := s.Retry(ctx, id)
		logChange("job runs again for an operator", &v, err)
		return v, err
	})
}

func cancelJob(c *call) error {
	return c.onJob(func(ctx context.Context, s *jobs.Service, id jobs.ID) (jobs.View, error) {
		v, err := s.Cancel(ctx, id, "operator")
		logChange("job cancelled by an operator", &v, err)
		return v, err
	})
}

func forgetJob(c *call) error {
	return c.onJob(func(ctx context.Context, s *jobs.Service, id jobs.ID) (jobs.View, error) {
		v, err := s.Get(ctx, id)
		if err == nil {
			err = s.Forget(ctx, id)
		}
		logChange("job removed by an operator", &v, err)
		return v, err
	})
}

func logChange(message string, v *jobs.View, err error) {
	if err == nil {
		pools.Logger().Named("jobs").Info(message, zap.String("job", v.ID.Short()), zap.String("route", v.Route), zap.Stringer("state", v.State))
	}
}

var _ caddy.AdminRouter = AdminAPI{}
