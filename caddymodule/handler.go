package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// Handler protects the handlers behind it from more work than they can take: each
// request waits for a permit of a pool, in a bounded queue and only while the
// pool's breaker is closed. Bodies are kept in memory and then in files, so that
// slow clients hold no permit. It works with any handler that responds, such as
// `reverse_proxy` and `php_fastcgi`.
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

	// The longest run, until the upstream's last byte. Default: off.
	RunTimeout caddy.Duration `json:"run_timeout,omitempty"`

	// The longest time until the head of the answer; 1xx do not count. -1 is
	// off. Default: 60s.
	FirstByteTimeout caddy.Duration `json:"first_byte_timeout,omitempty"`

	// What happens to the run when the client leaves, or is answered because of a
	// timeout. `auto` presumes that the backend works on, and lets it, with its
	// permit; streams of events, gRPC and handlers that notice cancels are cancelled.
	// `finish` discards the rest of the response when the client leaves. `cancel`
	// closes the connection to the backend at once. Default: `auto`.
	OnAbandon string `json:"on_abandon,omitempty"`

	// How much longer the run may keep its permit when its client has left or was
	// answered because of a timeout, while the backend still works. -1 is off: until
	// it ends. Default: the larger of the two timeouts once more, 30s at least; off
	// if both are.
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

	// Routes that answer rejected requests. Default: the server's error
	// routes, else a plain answer.
	HandleReject caddyhttp.RouteList `json:"handle_reject,omitempty"`

	// The name of this proxy in `Proxy-Status` fields (RFC 9209). Default: the
	// app's, else no such field.
	ProxyStatusName string `json:"proxy_status_name,omitempty"`

	// Adds a `Server-Timing` field with the time that the request waited, and
	// to answers to timeouts that of the run.
	ServerTiming bool `json:"server_timing,omitempty"`

	app   *App
	pool  *pools.Pool
	route *serving.Route
}

// SpoolBounds limit the kept part of one body, in bytes.
type SpoolBounds struct {
	// Nothing is kept: the body is passed on as it comes, and the permit is
	// held for as long as that takes.
	Off bool `json:"off,omitempty"`
	// How much in memory.
	Memory int64 `json:"memory,omitempty"`
	// How much more in a file.
	File int64 `json:"file,omitempty"`
}

// Defaults of a route.
const (
	defaultFirstByteTimeout = 60 * time.Second
	defaultStallTimeout     = 60 * time.Second
	minAbandonTimeout       = 30 * time.Second
	defaultResends          = 1
	maxResends              = 100
	defaultRejectStatus     = http.StatusServiceUnavailable
	defaultSpoolMemory      = 256 << 10
	defaultSpoolFile        = 1 << 30

	// patience is how long a run waits for a client that keeps up before its
	// response goes to a file.
	patience = 5 * time.Millisecond
)

// routeTimeouts of a handler: those that are configured, and the longest that is in
// force.
type routeTimeouts struct {
	written []caddy.Duration
	longest time.Duration
}

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
	if err := h.check(); err != nil {
		return err
	}
	firstByte := time.Duration(optionvalue.OrDefault(h.FirstByteTimeout, caddy.Duration(defaultFirstByteTimeout)))
	runTime := time.Duration(optionvalue.OrDefault(h.RunTimeout, 0))
	timeouts := routeTimeouts{
		written: []caddy.Duration{h.FirstByteTimeout, h.RunTimeout},
		longest: max(firstByte, runTime),
	}
	if err := h.openPool(app, timeouts, ctx.Logger()); err != nil {
		return err
	}
	s := h.settings(firstByte, runTime)
	s.Logger = ctx.Logger()
	if len(h.HandleReject) > 0 {
		if err := h.HandleReject.Provision(ctx); err != nil {
			return fmt.Errorf("handle_reject: %w", err)
		}
		s.RejectRoutes = h.HandleReject.Compile(caddyhttp.HandlerFunc(serving.PlainRejection))
	}
	h.route = serving.NewRoute(s)
	return nil
}

// settings fills in the defaults of a handler that was checked.
func (h *Handler) settings(firstByte, runTime time.Duration) serving.Settings {
	rule, _ := serving.ParseAbandonRule(h.OnAbandon)
	unspooled, _ := requestbody.ParseKinds(h.Unspooled)
	return serving.Settings{
		Pool:             h.pool,
		Ready:            func() { h.app.generation.Link(h.app.findSpots) },
		FirstByteTimeout: firstByte,
		RunTimeout:       runTime,
		OnAbandon:        rule,
		AbandonTimeout:   time.Duration(optionvalue.OrDefault(h.AbandonTimeout, defaultAbandonTimeout(max(firstByte, runTime)))),
		Resends:          optionvalue.OrDefault(h.Resend, defaultResends),
		HoldUpgrades:     h.Upgrades == "hold",
		RequestBounds:    h.RequestSpool.bounds(),
		Unspooled:        unspooled,
		Response: stream.Options{
			Budget:   pools.Budget,
			Bounds:   h.ResponseSpool.bounds(),
			Patience: patience,
			Stall:    time.Duration(optionvalue.OrDefault(h.StallTimeout, caddy.Duration(defaultStallTimeout))),
		},
		RejectStatus:    optionvalue.OrDefault(h.RejectStatus, defaultRejectStatus),
		ProxyStatusName: optionvalue.OrDefault(h.ProxyStatusName, h.app.ProxyStatusName),
		ServerTiming:    h.ServerTiming,
		ShowQuery:       h.app.ShowQuery,
	}
}

// ServeHTTP takes a request through the route's pool.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return h.route.ServeHTTP(w, r, next)
}

func (h *Handler) openPool(app *App, timeouts routeTimeouts, logger *zap.Logger) (err error) {
	if h.Pool != "" {
		h.pool, err = app.named(h.Pool, timeouts)
		return err
	}
	if h.Name == "" {
		h.Name = app.nameless(h.PoolConfig)
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
	fail(h.StallTimeout < optionvalue.Off, "stall_timeout must not be negative")
	fail(h.AbandonTimeout < optionvalue.Off, "abandon_timeout must not be negative")
	fail(h.Resend < optionvalue.Off, "resend must not be negative")
	fail(h.RunTimeout > 0 && h.FirstByteTimeout > h.RunTimeout, "first_byte_timeout is above run_timeout")
	fail(!slices.Contains([]string{"", "pass", "hold"}, h.Upgrades), "unknown upgrades '%s': want pass or hold", h.Upgrades)
	fail(h.RejectStatus != 0 && (h.RejectStatus < 400 || h.RejectStatus > 599), "reject_status %d is no error status", h.RejectStatus)
	fail(!serving.ValidStatusName(h.ProxyStatusName), "proxy_status_name '%s' must be printable ASCII", h.ProxyStatusName)
	_, err := serving.ParseAbandonRule(h.OnAbandon)
	errs = append(errs, err)
	_, err = requestbody.ParseKinds(h.Unspooled)
	errs = append(errs, err, h.RequestSpool.check("request_spool"), h.ResponseSpool.check("response_spool"),
		checkWindow(h.Breaker, h.FirstByteTimeout, h.RunTimeout))
	return errors.Join(errs...)
}

func (b *SpoolBounds) check(word string) error {
	switch {
	case b == nil:
		return nil
	case b.Memory < 0 || b.File < 0:
		return fmt.Errorf("%s: sizes must not be negative", word)
	case b.Memory > optionvalue.MaxSize || b.File > optionvalue.MaxSize:
		return fmt.Errorf("%s: sizes must not be above %d", word, int64(optionvalue.MaxSize))
	case b.Off != (b.Memory+b.File == 0):
		return fmt.Errorf("%s: set sizes of which one is above zero, or 'off' alone", word)
	}
	return nil
}

func (b *SpoolBounds) bounds() spool.Bounds {
	switch {
	case b == nil:
		return spool.Bounds{Memory: defaultSpoolMemory, File: defaultSpoolFile}
	case b.Off:
		return spool.Bounds{}
	}
	return spool.Bounds{Memory: b.Memory, File: b.File}
}

// defaultAbandonTimeout gives an abandoned run the time of its larger timeout once more,
// but at least minAbandonTimeout. Without timeouts abandoned runs have no limit either.
func defaultAbandonTimeout(longest time.Duration) caddy.Duration {
	if longest == 0 {
		return optionvalue.Off
	}
	return caddy.Duration(max(longest, minAbandonTimeout))
}

// nameless derives a name from settings, for pools that have none.
func (a *App) nameless(c PoolConfig) string {
	text, err := json.Marshal(c)
	if err != nil {
		return "unnamed" // cannot happen: it came from JSON
	}
	sum := sha256.Sum256(text)
	for n := 1; ; n++ {
		name := fmt.Sprintf("unnamed-%s-%d", hex.EncodeToString(sum[:4]), n)
		if a.claims[name] == nil {
			return name
		}
	}
}

func sameConfig(a, b PoolConfig) bool { return reflect.DeepEqual(a, b) }

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
