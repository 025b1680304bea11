package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/metrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// App holds the named pools and the settings that all routes share. It is optional: routes
// with separate pools need no setting here.
type App struct {
	// Pools that routes name, by name. Any number of routes and sites may
	// share one.
	Pools map[string]*PoolConfig `json:"pools,omitempty"`

	// Bounds on the request and response bodies that all routes keep together.
	Spool *SpoolConfig `json:"spool,omitempty"`

	// The name of this proxy in `Proxy-Status` fields (RFC 9209) on responses
	// that it generates. Routes may set their own. Default: no such field.
	ProxyStatusName string `json:"proxy_status_name,omitempty"`

	// How many of the requests that were not served as usual are remembered
	// for `caddy offload explain`, of all pools together. -1 is off.
	// Default: 1024.
	Explain int `json:"explain,omitempty"`

	// Whether the admin endpoint shows requests with their queries, which may
	// hold secrets. Default: without.
	ShowQuery bool `json:"show_query,omitempty"`

	claims    map[string]*claim // by pool name
	rewired   bool
	limits    spool.Limits
	budget    *pools.Lease[spool.Limits]
	listener  *pools.Listener
	listening *pools.Lease[*pools.Listener]
	explained *pools.Lease[int]

	generation *pools.Generation
}

// claim is the hold of one configuration on one pool.
type claim struct {
	pool       *pools.Pool
	config     PoolConfig
	longestRun time.Duration
	inline     bool // defined by a route
	lease      *pools.Lease[offloader.Settings]
}

func defaultSpoolDir() string { return filepath.Join(caddy.AppDataDir(), "offload", "spool") }

// CaddyModule describes the module.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload", New: func() caddy.Module { return new(App) }}
}

// Provision opens the named pools. It does not change pools that exist.
func (a *App) Provision(ctx caddy.Context) error {
	a.claims = make(map[string]*claim)
	a.generation = new(pools.Generation)
	eventsApp, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	a.listener = &pools.Listener{Ctx: ctx, Events: eventsApp.(*caddyevents.App)}
	for _, name := range []string{"started", "stopping"} {
		if err := a.listener.Events.On(name, a); err != nil {
			return fmt.Errorf("subscribing to '%s': %w", name, err)
		}
	}
	if err := ctx.GetMetricsRegistry().Register(metrics.Collector{}); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	if a.limits, err = a.Spool.limits(); err != nil {
		return err
	}
	if !serving.ValidStatusName(a.ProxyStatusName) {
		return fmt.Errorf("proxy_status_name '%s' must be printable ASCII", a.ProxyStatusName)
	}
	if a.Explain < optionvalue.Off || a.Explain > requests.MaxExplain {
		return fmt.Errorf("explain must be from 1 to %d, or -1 for off", requests.MaxExplain)
	}
	for name, config := range a.Pools {
		if config == nil {
			return fmt.Errorf("pool '%s': settings must not be null", name)
		}
		if name == "" {
			return errors.New("the name of a pool must not be empty")
		}
		if _, err := a.claim(name, *config, 0); err != nil {
			return err
		}
	}
	return nil
}

// named returns a pool of this app for a route with those timeouts.
func (a *App) named(name string, timeouts routeTimeouts) (*pools.Pool, error) {
	c := a.claims[name]
	if c == nil || c.inline {
		return nil, fmt.Errorf("unknown pool '%s': define it in the offload app%s", name, suggest.KnownPools(slices.Collect(maps.Keys(a.Pools))))
	}
	if err := checkWindow(c.config.Breaker, timeouts.written...); err != nil {
		return nil, fmt.Errorf("pool '%s': %w", name, err)
	}
	c.longestRun = max(c.longestRun, timeouts.longest)
	return c.pool, nil
}

// own returns a pool that a route defines for itself. The same definition may
// come twice, when one site listens on several addresses.
func (a *App) own(name string, config PoolConfig, timeouts routeTimeouts) (*pools.Pool, error) {
	if c := a.claims[name]; c != nil {
		if !c.inline || !sameConfig(c.config, config) {
			return nil, fmt.Errorf("pool '%s' is defined twice", name)
		}
		c.longestRun = max(c.longestRun, timeouts.longest)
		return c.pool, nil
	}
	c, err := a.claim(name, config, timeouts.longest)
	if err != nil {
		return nil, err
	}
	c.inline = true
	return c.pool, nil
}

func (a *App) claim(name string, config PoolConfig, longestRun time.Duration) (*claim, error) {
	settings, err := config.settings(longestRun)
	if err != nil {
		return nil, fmt.Errorf("pool '%s': %w", name, err)
	}
	pool, err := pools.Open(name, settings)
	if err != nil {
		return nil, err
	}
	c := &claim{pool: pool, config: config, longestRun: longestRun}
	a.claims[name] = c
	return c, nil
}

// Start puts the settings in force if there is no other configuration. If there is one,
// it continues when an app that starts after this one fails, and must not change before:
// then the event "started" puts the settings in force.
func (a *App) Start() error {
	a.generation.Link(a.findSpots)
	if pools.BudgetLeases.None() {
		return a.commit()
	}
	return nil
}

// Handle is called when all apps of this configuration have started, and when it
// begins to stop. It ignores events of these names that a module emits.
func (a *App) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() != nil {
		return nil
	}
	if e.Name() == "stopping" {
		a.stopping()
		return nil
	}
	// Not from Start: the events app may still be taking subscriptions then.
	if a.listening == nil {
		a.listening = pools.ListeningLeases.Start(a.listener)
	}
	return a.commit()
}

// stopping is called when Caddy begins to stop the app's configuration. On a reload it
// does nothing: the next configuration has the same pools. During a shutdown delay the
// servers continue as usual, and so do the pools.
func (a *App) stopping() {
	if !caddy.Exiting() {
		return
	}
	var delay time.Duration
	if module, err := a.listener.Ctx.AppIfConfigured("http"); err == nil {
		delay = time.Duration(module.(*caddyhttp.App).ShutdownDelay)
	}
	if delay > 0 {
		time.AfterFunc(delay, pools.BeginExit)
		return
	}
	pools.BeginExit()
}

// commit puts this configuration's settings in force, once.
func (a *App) commit() error {
	if a.budget != nil {
		return nil
	}
	a.budget = pools.BudgetLeases.Start(a.limits)
	a.generation.Rule()
	a.explained = requests.ExplainLeases.Start(optionvalue.OrDefault(a.Explain, requests.DefaultExplain))
	spool.Sweep(a.limits.Dir)
	pools.WarnOfFolder(a.limits.Dir)
	for name, c := range a.claims {
		settings, err := c.config.settings(c.longestRun)
		if err != nil {
			return fmt.Errorf("pool '%s': %w", name, err)
		}
		c.lease = c.pool.Leases.Start(settings)
	}
	return nil
}

// Stop does nothing: requests are still being served.
func (a *App) Stop() error { return nil }

// Cleanup releases the pools. Requests that are in them still finish there.
func (a *App) Cleanup() error {
	a.listening.End()
	pools.Listening.CompareAndSwap(a.listener, nil)
	a.listening = nil
	a.budget.End()
	a.budget = nil
	a.explained.End()
	a.explained = nil
	a.generation.End()
	var errs []error
	for name, c := range a.claims {
		c.lease.End()
		_, err := pools.Table.Delete(name)
		errs = append(errs, err)
	}
	a.claims = nil
	return errors.Join(errs...)
}

var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = (*App)(nil)
)
