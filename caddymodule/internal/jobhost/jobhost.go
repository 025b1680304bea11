// Package jobhost is what the core and its plugin for jobs know of each other. The core does
// not import the plugin. It loads the plugin as guest modules: an [App] for each
// configuration, and a [Route] for each route with the option "jobs", which gets a [Host]:
// the way into the route's pool for the attempts of jobs.
package jobhost

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// IDs of the guest modules.
const (
	AppModule   caddy.ModuleID = "offload.jobs"
	RouteModule caddy.ModuleID = "offload.jobs.route"
)

// App is the guest of an "offload" app: the module AppModule, with the JSON in the app's
// field "jobs". There is one in each configuration that has that field or a route with jobs.
// Caddy provisions it. It must not open the store then, since Caddy provisions a
// configuration that is only validated, too.
//
// In the Caddyfile it may be a [caddyfile.Unmarshaler] for the option "jobs" of the global
// option: the dispenser is before the name of the option.
type App interface {
	caddy.Module
	// Open is called when the configuration starts. An error fails the configuration, and
	// the one before goes on. So Open must not take anything from that one.
	Open() error
	// Bind is called when all apps of the configuration have started: from now on its
	// routes run the jobs. In the first configuration of the process, an app that starts
	// later may still fail.
	Bind()
	// Drain is called when the process exits, after Bind: admission to the pools has
	// stopped, and no further attempts must begin. It must not block.
	Drain()
	// Close undoes Open and Bind, or does nothing if they were not called. On a reload the
	// next configuration has called Bind before. When the process exits, Drain was called
	// before, the servers have ended, and Close blocks until the attempts have ended or
	// were given up.
	Close() error
}

// Route is the guest of a route: the module RouteModule, with the JSON in the route's field
// "jobs". The core reads and writes the field "name" of that JSON, which the module must
// have: the name of the route, see [Host.Name].
type Route interface {
	caddy.Module
	// Attach gives the route its host, after Caddy has provisioned it.
	Attach(host Host) error
	// Routes returns the provisioned routes that run the jobs. The core looks for their
	// upstreams.
	Routes() caddyhttp.RouteList
	// Takes reports whether Serve decides about a request. It may add fields to the header
	// of the response. It is called for each request of the route, so it must be cheap.
	Takes(header http.Header, r *http.Request) bool
	// Serve answers a request that Takes was true for.
	Serve(w http.ResponseWriter, r *http.Request) error
}

// RouteParser is a Route that reads the option "jobs" of a route in the Caddyfile.
type RouteParser interface {
	Route
	// ParseJobs reads the option. The dispenser of the helper is before the name of the
	// option, and ends with its block.
	ParseJobs(h httpcaddyfile.Helper) error
}

// AppParser is an App that reads the option "jobs" of the global option in the Caddyfile.
type AppParser interface {
	App
	caddyfile.Unmarshaler
}

// Host is a route as its guest sees it. Its methods may be called from any goroutine, also
// after a reload: attempts end with the handlers that they have begun with.
type Host interface {
	// App returns the guest of the configuration's app.
	App() App
	// Name identifies the route in the store of jobs, also after a reload. It is unique
	// within the configuration, but for copies of one route: a site that listens on several
	// ports has its routes once for each server.
	Name() string
	// Pool returns the name of the route's pool.
	Pool() string
	// Key returns the key of a request in a pool that counts by key, else an empty text.
	Key(r *http.Request) string
	// Logger returns the logger of the route.
	Logger() *zap.Logger
	// Server returns the server that the route belongs to.
	Server() *caddyhttp.Server
	// Run takes the request of a job through the route's pool, and runs next under the
	// permit, on the caller's goroutine. The options of the route apply as they do to the
	// requests of clients, but for those about their time and their answers: max_wait,
	// max_time, deadline, reject_hold, server_timing and request_id. The request must be
	// prepared by [caddyhttp.PrepareRequest], and its context be that of the job. Where the
	// cost of a request depends on its body, Run calls the request's GetBody, if there is
	// one, before next. When the context ends, so does the wait for a permit, and a run is
	// cancelled as if by an operator.
	//
	// What the pool says in place of the handlers is in the result and never written to w:
	// if the result has no response of the handlers, nothing was written. Run recovers
	// panics of the handlers, and returns when the response was written to its end.
	//
	// A job waits as long as it takes, also while the pool is paused. A pool that drains or
	// whose breaker is open rejects it, and says when to try again. A pool that the next
	// configuration does not have serves the jobs that wait in it.
	Run(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, o Options) Result
}

// Options of [Host.Run].
type Options struct {
	// Tenant is the key of the job in pools that count by key.
	Tenant string
	// Now does not wait: without a free permit the result is that of a job that was not
	// started, without a reason.
	Now bool
}

// Result of [Host.Run].
type Result struct {
	// Started: next was called. Otherwise the job has not begun, and can be run later.
	Started bool
	// Reason is why the pool has rejected the job, or why it has ended its run, such as
	// "run_timeout". Zero: neither.
	Reason offloader.Reason
	// RetryAfter is when to try again after a rejection, zero if that is not known.
	RetryAfter time.Duration
	// Sent: the upstream may have noticed the request.
	Sent bool
	// Status of the response, zero without one. Complete: the response is whole.
	Status   int
	Complete bool
	// Err is why the run has failed: the error or the panic of the handlers, or the end of
	// the context.
	Err error
}
