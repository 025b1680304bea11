package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/discard"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/shadow"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// Handler protects the handlers behind it from more work than they can take: each
// request waits for a permit of a pool, in a bounded queue and only while the
// pool's breaker is closed. Bodies are kept in memory and then in files, so that
// slow clients hold no permit. It works with any handler that responds, such as
// `reverse_proxy` and `php_fastcgi`. The handlers after it in the route are what it
// protects:
//
//	{
//		"match": [{"path": ["/report/*"]}],
//		"handle": [
//			{"handler": "offload", "name": "reports", "concurrency": 1, "max_wait": "10s"},
//			{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:8000"}]}
//		]
//	}
//
// Placeholders:
//
// Placeholder | Description
// ------------|-------------
// `{http.offload.id}` | The request's id
// `{http.offload.pool}` | The pool's name
// `{http.offload.queue_wait}` | How long the request waited for its permit
// `{http.offload.queue_wait_ms}` | The same in milliseconds
// `{http.offload.run}` | How long the run has taken
// `{http.offload.run_ms}` | The same in milliseconds
// `{http.offload.outcome}` | `success`, `failure` or `excluded` when the run has ended
// `{http.offload.reject_reason}` | Why the request was rejected
// `{http.offload.reject_status}` | The status for it, in `handle_reject`
// `{http.offload.in_flight}` | How many requests wait or run in the pool
// `{http.offload.breaker_state}` | `closed`, `half_open`, `open` or `off`
type Handler struct {
	// A pool of the `offload` app. Default: the route has a separate pool,
	// which the fields below configure.
	Pool string `json:"pool,omitempty"`

	// The name of the route's own pool in metrics and commands, and its
	// identity across reloads. The Caddyfile writes one if there is none.
	Name string `json:"name,omitempty"`

	PoolConfig

	// The class of the route's requests in the pool: the name of one, or text with
	// placeholders such as `{http.auth.user.role}`. A value that is not listed is the
	// default class. Clients choose their class if the placeholder lets them. Default: the
	// default class.
	Class string `json:"class,omitempty"`

	// The key of the route's requests, as text with placeholders, in the place of the
	// pool's `fair_by`.
	Key string `json:"key,omitempty"`

	// How many permits a request takes: a number, text with placeholders, or
	// `json <field>/<divisor>`, as in `json max_tokens/1024`: the number in that field of
	// a spooled JSON body, by the divisor and rounded up. Default: 1.
	Cost string `json:"cost,omitempty"`

	// The longest run, until the upstream's last byte. Default: off.
	RunTimeout caddy.Duration `json:"run_timeout,omitempty"`

	// The longest time that a request may use in all: for its body, its wait, its run and
	// all resends. No run starts after it. -1 is off. Default: off.
	MaxTime caddy.Duration `json:"max_time,omitempty"`

	// The time that the client allows for its request, as a text with placeholders, such as
	// `{http.request.header.Request-Timeout}`. Values are seconds (`2.5`), durations (`1500ms`)
	// or the form of `grpc-timeout` (`2S`); others are ignored. With this option the fields
	// `grpc-timeout` and `Prefer: wait` of the request count too. The shortest of them and of
	// `max_time` is the limit. Default: clients set no limit.
	Deadline string `json:"deadline,omitempty"`

	// The name of a field that has the rest of the time for the backend, in milliseconds, at
	// least 1. It replaces what the client has sent, and is computed again for each resend. It
	// ends with the shortest of `max_time`, `deadline` and `run_timeout`. The field
	// `grpc-timeout` has its own form. Default: no such field.
	DeadlineHeader string `json:"deadline_header,omitempty"`

	// The longest time until the head of the answer; 1xx do not count. -1 is
	// off. Default: 60s.
	FirstByteTimeout caddy.Duration `json:"first_byte_timeout,omitempty"`

	// Whether the pool's decisions are carried out (`enforce`), or only counted and logged while
	// each request is let through at once (`shadow`). All routes of a pool have the same mode.
	// Default: `enforce`.
	Mode string `json:"mode,omitempty"`

	// What happens to the run when the client leaves, or is answered because of a
	// timeout. `auto` presumes that the backend works on, and lets it, with its
	// permit; streams of events, gRPC and handlers that notice cancels are cancelled.
	// `finish` discards the rest of the response when the client leaves. `cancel`
	// closes the connection to the backend at once. Default: `auto`.
	OnAbandon string `json:"on_abandon,omitempty"`

	// How much longer the run may keep its permit when its client has left or was
	// answered because of a timeout, while the backend still works. -1 is off: until
	// it ends. Default: the larger of the two timeouts once more, 30s at least; off
	// if both are. A shorter `max_time` counts in their place.
	AbandonTimeout caddy.Duration `json:"abandon_timeout,omitempty"`

	// How often a request may be sent again when the connection to the backend ends
	// without an answer, by itself and only where HTTP allows it: safe methods, and
	// others with an `Idempotency-Key`. Attempts that the backend cannot have noticed
	// do not count. -1 is off. Default: 1.
	Resend int `json:"resend,omitempty"`

	// How much of a request's body is kept before it waits for a permit. A
	// larger one is rejected with status 413. Default: 256 KiB in memory, then
	// 1 GiB in a file.
	RequestSpool *SpoolBounds `json:"request_spool,omitempty"`

	// Which request bodies are passed on as they come because of the request's own
	// fields, while their run holds its permit: `grpc`, `connect` (streams of the
	// Connect protocol), `ndjson` (of unknown length, on HTTP/2 and 3), `incremental`
	// (RFC 10036), `upgrade` (tunnels by `CONNECT`) and `resumable` (uploads by tus and
	// the draft of the IETF); or `off` alone. Default: all but `resumable`, which then
	// share half of the pool's permits, one at least.
	Unspooled []string `json:"unspooled,omitempty"`

	// How much of a response is kept for a slow client. When it is full the
	// run waits. Default: 256 KiB in memory, then 1 GiB in a file.
	ResponseSpool *SpoolBounds `json:"response_spool,omitempty"`

	// The longest time that a full spool may block the run. -1 is off.
	// Default: 60s.
	StallTimeout caddy.Duration `json:"stall_timeout,omitempty"`

	// Whether an upgraded connection leaves the pool (`pass`) or keeps its
	// permit (`hold`). Default: `pass`.
	Upgrades string `json:"upgrades,omitempty"`

	// The status for requests that are rejected because of overload.
	// Default: 503.
	RejectStatus int `json:"reject_status,omitempty"`

	// The status when `run_timeout`, `first_byte_timeout` or `max_time` ends a run before its
	// answer has begun, from 400 to 599. Many clients send a request again by themselves after
	// a 504, a POST too, and the run may go on. Default: 504.
	TimeoutStatus int `json:"timeout_status,omitempty"`

	// The longest time for which the answer to a request that is rejected because of a full
	// queue is held, up to 1s: for the fraction of a second that `Retry-After` cannot say,
	// so that clients that are rejected together come back one after the other. On HTTP/1
	// only, and for 256 requests of the process at a time. -1 is off. Default: off.
	RejectHold caddy.Duration `json:"reject_hold,omitempty"`

	// Routes that answer rejected requests. Default: the server's error routes, else an
	// answer by the kind of client: gRPC, an event source, a page, JSON, or plain text.
	HandleReject caddyhttp.RouteList `json:"handle_reject,omitempty"`

	// The name of this proxy in `Proxy-Status` fields (RFC 9209). Default: the
	// app's, else no such field.
	ProxyStatusName string `json:"proxy_status_name,omitempty"`

	// Adds a `Server-Timing` field with the time that the request waited, and
	// to answers to timeouts that of the run.
	ServerTiming bool `json:"server_timing,omitempty"`

	// Adds the request's id to all answers, in the field `Offload-Request-Id`, and not
	// only to those that are made here. `server_timing` does so too.
	RequestID bool `json:"request_id,omitempty"`

	// Requests that the route keeps as jobs, which outlive their clients. It needs the
	// plugin `caddymodule/jobs`, whose documentation has its fields. Default: none.
	Jobs json.RawMessage `json:"jobs,omitempty"`

	app   *App
	pool  *pools.Pool
	route *serving.Route
	jobs  jobhost.Route // nil without jobs

	shadow *shadow.Route // nil unless the mode is shadow
}

// Defaults of a route.
const (
	defaultFirstByteTimeout = 60 * time.Second
	defaultStallTimeout     = 60 * time.Second
	defaultResends          = 1
	maxResends              = 100
	defaultRejectStatus     = http.StatusServiceUnavailable
	defaultTimeoutStatus    = http.StatusGatewayTimeout
	maxRejectHold           = caddy.Duration(time.Second)

	// patience is how long a run waits for a fast client before its response goes to a
	// file.
	patience = 5 * time.Millisecond
)

// Values of the option mode.
const (
	modeEnforce = "enforce"
	modeShadow  = "shadow"
)

// CaddyModule describes the module.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.offload", New: func() caddy.Module { return new(Handler) }}
}

// Provision gets the handler its pool.
func (h *Handler) Provision(ctx caddy.Context) error {
	appModule, err := ctx.App("offload")
	if err != nil {
		return fmt.Errorf("getting the offload app: %w", err)
	}
	app := appModule.(*App)
	app.rewireOnce(ctx)
	h.app = app
	place := jobroute.Place{Pool: cmp.Or(h.Pool, h.Name), Text: rewireText(caddyconfig.JSON(h, nil))}
	if err := h.check(); err != nil {
		return err
	}
	firstByte := time.Duration(optionvalue.OrDefault(h.FirstByteTimeout, caddy.Duration(defaultFirstByteTimeout)))
	runTime := time.Duration(optionvalue.OrDefault(h.RunTimeout, 0))
	timeouts := routeTimeouts{
		written: []caddy.Duration{h.FirstByteTimeout, h.RunTimeout},
		longest: h.longestRun(firstByte, runTime),
		shadow:  h.Mode == modeShadow,
	}
	if err := h.openPool(app, timeouts, ctx.Logger()); err != nil {
		return err
	}
	if h.RejectHold <= 0 {
		app.warnOfShortQueue(h.pool, ctx.Logger())
	}
	s := h.settings(firstByte, runTime)
	if s.Claims, err = h.claims(app); err != nil {
		return err
	}
	s.Logger = ctx.Logger()
	if len(h.HandleReject) > 0 {
		if err := h.HandleReject.Provision(ctx); err != nil {
			return fmt.Errorf("handle_reject: %w", err)
		}
		s.RejectRoutes = h.HandleReject
	}
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok {
		server.RegisterConnContext(bridge.ConnContext)
		server.RegisterConnContext(discard.ConnContext)
	}
	h.route = serving.NewRoute(s)
	place.Route, place.Server = h.route, server
	if h.jobs, err = app.loadRouteJobs(ctx, h.Jobs, h.pool.Name(), place); err != nil {
		return err
	}
	if h.Mode == modeShadow {
		h.shadow = shadowOf(s)
	}
	return nil
}

// settings fills in the defaults of a handler that was checked.
func (h *Handler) settings(firstByte, runTime time.Duration) serving.Settings {
	rule, _ := serving.ParseAbandonRule(h.OnAbandon)
	unspooled, _ := requestbody.ParseKinds(h.Unspooled)
	return serving.Settings{
		Process:          h.app.process,
		Pool:             h.pool,
		Ready:            func() { h.app.generation.Link(h.app.findSpots) },
		FirstByteTimeout: firstByte,
		RunTimeout:       runTime,
		Deadline:         deadline.Rule{MaxTime: h.maxTime(), Client: h.Deadline, Header: h.DeadlineHeader},
		OnAbandon:        rule,
		AbandonTimeout:   time.Duration(optionvalue.OrDefault(h.AbandonTimeout, defaultAbandonTimeout(h.longestRun(firstByte, runTime)))),
		Resends:          optionvalue.OrDefault(h.Resend, defaultResends),
		HoldUpgrades:     h.Upgrades == "hold",
		RequestBounds:    h.RequestSpool.bounds(),
		Unspooled:        unspooled,
		Response: stream.Options{
			Budget:   h.app.process.Budget,
			Bounds:   h.ResponseSpool.bounds(),
			Patience: patience,
			Stall:    time.Duration(optionvalue.OrDefault(h.StallTimeout, caddy.Duration(defaultStallTimeout))),
		},
		Statuses: answers.Statuses{
			Reject:  optionvalue.OrDefault(h.RejectStatus, defaultRejectStatus),
			Timeout: optionvalue.OrDefault(h.TimeoutStatus, defaultTimeoutStatus),
		},
		RejectHold:      time.Duration(optionvalue.OrDefault(h.RejectHold, 0)),
		ProxyStatusName: optionvalue.OrDefault(h.ProxyStatusName, h.app.ProxyStatusName),
		ServerTiming:    h.ServerTiming,
		ShowID:          h.ServerTiming || h.RequestID,
		ShowQuery:       h.app.ShowQuery,
	}
}

// limitMissing reports whether deadline_header is set without any limit whose rest it could
// send.
func (h *Handler) limitMissing() bool {
	return h.DeadlineHeader != "" && h.MaxTime <= 0 && h.RunTimeout <= 0 && h.Deadline == ""
}

func (h *Handler) maxTime() time.Duration {
	return time.Duration(optionvalue.OrDefault(h.MaxTime, 0))
}

// longestRun returns the time after which a run of the route is ended, zero for never.
func (h *Handler) longestRun(firstByte, runTime time.Duration) time.Duration {
	longest, most := max(firstByte, runTime), h.maxTime()
	if longest == 0 || (most > 0 && most < longest) {
		return most
	}
	return longest
}

func (h *Handler) spot() (pool *pools.Pool, rejects, jobs caddyhttp.RouteList) {
	if h.jobs != nil {
		jobs = h.jobs.Routes()
	}
	return h.pool, h.HandleReject, jobs
}

// shadowOf returns a route with these settings that lets all requests through.
func shadowOf(s serving.Settings) *shadow.Route {
	return &shadow.Route{
		Pool: s.Pool, Exit: s.Process.Exit.Context, Ready: s.Ready,
		Claims: s.Claims, Deadline: s.Deadline, FirstByteTimeout: s.FirstByteTimeout, RunTimeout: s.RunTimeout,
		HoldUpgrades: s.HoldUpgrades, RequestBounds: s.RequestBounds, Unspooled: s.Unspooled,
	}
}

// ServeHTTP takes a request through the route's pool, unless it becomes a job.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.jobs == nil {
		return h.serve(w, r, next)
	}
	if h.jobs.Takes(w.Header(), r) {
		return h.jobs.Serve(w, r)
	}
	return h.serve(w, r, h.jobs.Routes().Compile(next)) // they run the requests that are no jobs, too
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.shadow != nil {
		return h.shadow.ServeHTTP(w, r, next)
	}
	return h.route.ServeHTTP(w, r, next)
}

// claims returns the rules for claims in the route's pool, whose settings are valid.
func (h *Handler) claims(app *App) (*claims.Rules, error) {
	config := h.PoolConfig
	if h.Pool != "" {
		config = *app.Pools[h.Pool]
	}
	settings, err := config.settings(0)
	if err != nil {
		return nil, err
	}
	return claims.New(h.claimOptions(), settings)
}

func (h *Handler) claimOptions() claims.Options {
	return claims.Options{Class: h.Class, Key: h.Key, Cost: h.Cost}
}

func (h *Handler) openPool(app *App, timeouts routeTimeouts, logger *zap.Logger) (err error) {
	if h.Pool != "" {
		h.pool, err = app.named(h.Pool, timeouts)
		return err
	}
	if h.Name == "" {
		h.Name = nameless(h.PoolConfig, func(name string) bool { return app.claims[name] != nil })
		logger.Warn("this pool has no name: it keeps its state across reloads only while its settings do not change",
			zap.String("pool", h.Name))
	}
	h.pool, err = app.own(h.Name, h.PoolConfig, timeouts)
	return err
}

// check returns the errors of a configuration that did not come from a Caddyfile.
func (h *Handler) check() error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fail(h.Pool != "" && h.Name != "", "a route names a pool or has its own: set either 'pool' or 'name'")
	fail(h.Pool != "" && !reflect.ValueOf(h.PoolConfig).IsZero(),
		"the settings of pool '%s' belong to the offload app, not to a route that names it", h.Pool)
	fail(h.RunTimeout < optionvalue.Off, "run_timeout must not be negative")
	fail(h.FirstByteTimeout < optionvalue.Off, "first_byte_timeout must not be negative")
	fail(h.MaxTime < optionvalue.Off, "max_time must not be negative")
	fail(h.StallTimeout < optionvalue.Off, "stall_timeout must not be negative")
	fail(h.AbandonTimeout < optionvalue.Off, "abandon_timeout must not be negative")
	fail(h.Resend < optionvalue.Off, "resend must not be negative")
	fail(h.RunTimeout > 0 && h.FirstByteTimeout > h.RunTimeout, "first_byte_timeout is above run_timeout")
	fail(h.limitMissing(), "deadline_header without max_time, deadline or run_timeout: there is no rest of the time to put into the field")
	fail(!slices.Contains([]string{"", modeEnforce, modeShadow}, h.Mode), "unknown mode '%s': want enforce or shadow", h.Mode)
	fail(!slices.Contains([]string{"", "pass", "hold"}, h.Upgrades), "unknown upgrades '%s': want pass or hold", h.Upgrades)
	fail(h.RejectStatus != 0 && (h.RejectStatus < 400 || h.RejectStatus > 599), "reject_status %d is no error status", h.RejectStatus)
	fail(h.TimeoutStatus != 0 && (h.TimeoutStatus < 400 || h.TimeoutStatus > 599), "timeout_status %d is no error status", h.TimeoutStatus)
	fail(!answers.ValidProxyName(h.ProxyStatusName), "proxy_status_name '%s' must be printable ASCII", h.ProxyStatusName)
	fail(h.RejectHold < optionvalue.Off, "reject_hold must not be negative")
	fail(h.Mode == modeShadow && jobroute.IsSet(h.Jobs), "jobs in mode shadow: jobs need the permits of their pool, so set mode to enforce, or leave jobs out")
	fail(h.RejectHold > maxRejectHold, "reject_hold %s is above 1s: it delays rejections by a part of a second only, so set 1s at most", time.Duration(h.RejectHold))
	_, err := serving.ParseAbandonRule(h.OnAbandon)
	errs = append(errs, err, deadline.Check(h.Deadline), deadline.CheckHeader(h.DeadlineHeader))
	_, err = requestbody.ParseKinds(h.Unspooled)
	errs = append(errs, err, h.RequestSpool.check("request_spool"), h.ResponseSpool.check("response_spool"),
		checkWindow(h.Breaker, h.FirstByteTimeout, h.RunTimeout), checkSlow(h.Breaker, h.FirstByteTimeout, h.RunTimeout))
	return errors.Join(errs...)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ spot                        = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
