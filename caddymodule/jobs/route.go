package jobs

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/prefer"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/endpoint"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// hooks sends the webhooks of all routes, by their names.
var hooks webhook.Table

// Route makes jobs of the requests of a route, and runs them.
type Route struct {
	RouteConfig

	host    jobhost.Host
	app     *App
	handler caddyhttp.Handler // of Handle
	rules   jobs.Policy
	failOn  outcome.Statuses
	kept    []string
	owner   owner.Rule
	// location returns the path of all jobs, with a slash at its end.
	location func() string
	hook     *webhook.Sender // nil without one
}

// CaddyModule describes the module.
func (*Route) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: jobhost.RouteModule, New: func() caddy.Module { return new(Route) }}
}

// Provision checks the settings, and provisions the routes that run the jobs.
func (r *Route) Provision(ctx caddy.Context) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := r.Handle.Provision(ctx); err != nil {
		return fmt.Errorf("handle: %w", err)
	}
	r.handler = r.Handle.Compile(caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	r.rules, r.kept, r.owner = r.policy(), r.keptFields(), owner.New(r.Owner)
	r.failOn, _ = outcome.ParseStatuses(r.FailOn) // checked
	return nil
}

// Attach gives the route its host.
func (r *Route) Attach(host jobhost.Host) error {
	app, ok := host.App().(*App)
	if !ok {
		return fmt.Errorf("the app of jobs is %T", host.App())
	}
	r.host, r.app = host, app
	r.location = sync.OnceValue(r.findLocation)
	app.add(r)
	return nil
}

// findLocation returns the configured path, else that of the first "offload_jobs" of the server.
// The server must have been provisioned.
func (r *Route) findLocation() string {
	found := endpoint.Prefixes(r.host.Server())
	switch {
	case r.Location != "":
		return strings.TrimSuffix(r.Location, "/") + "/"
	case len(found) > 0:
		return found[0]
	}
	r.host.Logger().Warn("the clients of this route cannot use their jobs: no directive offload_jobs is in the server",
		zap.String("hint", "write 'offload_jobs /jobs/*' in the site, or 'location' in the block of jobs if another site has it"))
	return defaultLocation
}

// Routes returns the routes that run the jobs.
func (r *Route) Routes() caddyhttp.RouteList { return r.Handle }

// Takes reports whether a request may become a job.
func (r *Route) Takes(header http.Header, req *http.Request) bool {
	if r.Accept == off {
		return false
	}
	header.Add("Vary", "Prefer")
	switch {
	case req.Method == http.MethodConnect, req.Header.Get("Upgrade") != "", cors.IsPreflight(req):
		return false
	case r.Accept == acceptAlways:
		return true
	case r.Idempotency != off && len(req.Header["Idempotency-Key"]) > 0:
		return true
	}
	return prefer.Of(req.Header).Async
}

// Serve answers a request with its response, or with a job.
func (r *Route) Serve(w http.ResponseWriter, req *http.Request) error {
	s := submission{Route: r, w: w, r: req, prefers: prefer.Of(req.Header), came: time.Now()}
	return s.serve()
}

// openHook opens the webhook of the route.
func (r *Route) openHook() (err error) {
	if r.Webhook != nil {
		r.hook, err = r.Webhook.Open(r.urlOf)
	}
	return err
}

func (r *Route) closeHook() {
	if r.hook != nil {
		r.hook.Close()
	}
}

// urlOf returns the URL of a job for the receiver of its webhook.
func (r *Route) urlOf(record *jobs.Record) string {
	return record.Request.Scheme + "://" + record.Request.Host + r.path(record.ID)
}

// path returns the path of a job.
func (r *Route) path(id jobs.ID) string { return r.location() + id.String() }

var (
	_ caddy.Provisioner     = (*Route)(nil)
	_ jobhost.RouteParser   = (*Route)(nil)
	_ jobs.Executor         = (*Route)(nil)
	_ caddyfile.Unmarshaler = (*AppConfig)(nil)
)
