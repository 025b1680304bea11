package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/metrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// process is the state of the process, the only one outside of tests. Caddy creates an app
// for each configuration, and calls functions like [TakeBody] without one, so the state is
// a package variable.
var process = state.NewProcess()

// App holds the named pools and the settings that all routes share. It is optional: routes
// with separate pools need no setting here. A pool limits how many requests run at once,
// and how many wait; handlers `offload` name it:
//
//	{
//		"pools": {"reports": {"concurrency": 4, "queue": 50, "max_wait": "30s"}},
//		"spool": {"memory": 268435456, "disk": 8589934592}
//	}
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

	// The settings of jobs that all routes share, such as their store. They need the plugin
	// `caddymodule/jobs`, whose documentation has the fields. Default: the plugin's defaults,
	// if a route has jobs.
	Jobs json.RawMessage `json:"jobs,omitempty"`

	process   *state.Process
	jobs      jobroute.Guests
	claims    map[string]*claim // by pool name
	rewired   bool
	limits    spool.Limits
	budget    *pools.Lease[spool.Limits]
	listener  *pools.Listener
	listening *pools.Lease[*pools.Listener]
	explained *pools.Lease[int]

	generation *pools.Generation
	unbalanced error // see balance; written once, before the first request
}

// claim is the use of one pool by one configuration.
type claim struct {
	pool       *pools.Pool
	config     PoolConfig
	longestRun time.Duration
	inline     bool // defined by a route
	used       bool // by a route
	shadow     bool // its routes let all requests through
	jobs       bool // of its routes

	warnedOfQueue bool // see warnOfShortQueue

	lease *pools.Lease[offloader.Settings]
}

// CaddyModule describes the module.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "offload", New: func() caddy.Module { return &App{process: process} }}
}

// Provision opens the named pools. It does not change pools that exist.
func (a *App) Provision(ctx caddy.Context) error {
	a.claims = make(map[string]*claim)
	a.generation = pools.NewGeneration(a.process.Pools)
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
	if err := ctx.GetMetricsRegistry().Register(metrics.Collector{Process: a.process}); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	if a.limits, err = a.Spool.limits(); err != nil {
		return err
	}
	if !answers.ValidProxyName(a.ProxyStatusName) {
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
	if jobroute.IsSet(a.Jobs) {
		return a.loadJobs()
	}
	return nil
}

// named returns a pool of this app for a route with these timeouts.
func (a *App) named(name string, timeouts routeTimeouts) (*pools.Pool, error) {
	c := a.claims[name]
	if c == nil || c.inline {
		return nil, fmt.Errorf("unknown pool '%s': define it in the offload app%s", name, suggest.KnownPools(slices.Collect(maps.Keys(a.Pools))))
	}
	if err := checkWindow(c.config.Breaker, timeouts.written...); err != nil {
		return nil, fmt.Errorf("pool '%s': %w", name, err)
	}
	c.longestRun = max(c.longestRun, timeouts.longest)
	return c.pool, c.use(timeouts.shadow)
}

// use records the mode of a route of the pool. All routes of a pool must have the same
// mode: in mode shadow, requests that are let through would take permits from requests that
// wait for one.
func (c *claim) use(shadow bool) error {
	if c.used && c.shadow != shadow {
		return fmt.Errorf("pool '%s' has routes with 'mode shadow' and others without: write it in all of them, or give some another pool", c.pool.Name())
	}
	c.used, c.shadow = true, shadow
	return nil
}

// own returns a pool that a route defines for itself. The same definition may come twice,
// when one site listens on several addresses.
func (a *App) own(name string, config PoolConfig, timeouts routeTimeouts) (*pools.Pool, error) {
	if c := a.claims[name]; c != nil {
		if !c.inline || !sameConfig(c.config, config) {
			return nil, fmt.Errorf("pool '%s' is defined twice", name)
		}
		c.longestRun = max(c.longestRun, timeouts.longest)
		return c.pool, c.use(timeouts.shadow)
	}
	c, err := a.claim(name, config, timeouts.longest)
	if err != nil {
		return nil, err
	}
	c.inline = true
	return c.pool, c.use(timeouts.shadow)
}

func (a *App) claim(name string, config PoolConfig, longestRun time.Duration) (*claim, error) {
	settings, err := config.settings(longestRun)
	if err != nil {
		return nil, fmt.Errorf("pool '%s': %w", name, err)
	}
	pool, err := a.process.Pools.Open(name, settings)
	if err != nil {
		return nil, err
	}
	c := &claim{pool: pool, config: config, longestRun: longestRun}
	a.claims[name] = c
	c.warnOfHold()
	return c, nil
}

// warnOfHold logs that requests cannot wait as long as a breaker would hold them.
func (c *claim) warnOfHold() {
	b, wait := c.config.Breaker, c.config.MaxWait
	if b == nil || wait <= 0 || b.Hold <= wait {
		return
	}
	c.pool.Logger().Warn("breaker hold is longer than max_wait: requests that already wait when the breaker trips are rejected by max_wait before the hold ends",
		zap.Duration("hold", time.Duration(b.Hold)), zap.Duration("max_wait", time.Duration(wait)),
		zap.String("hint", "raise 'max_wait' to 'hold' at least, or lower 'hold'"))
}

// warnOfShortQueue logs, once for each pool of a configuration, that its queue is shorter
// than the number of runs in a second. Clients that obey Retry-After come back at whole
// seconds. Then the pool serves as many of them as it has permits and places, and idles for
// the rest of the second.
func (a *App) warnOfShortQueue(pool *pools.Pool, logger *zap.Logger) {
	c := a.claims[pool.Name()]
	if c.warnedOfQueue || c.config.Queue == nil {
		return
	}
	s, err := c.config.settings(0)
	if err != nil {
		return // cannot happen: the pool was made with them
	}
	// Only a pool that existed before this configuration has a typical run.
	want, short := shortQueue(s, pool.Snapshot().TypicalRun)
	if !short {
		return
	}
	c.warnedOfQueue = true
	fields := []zap.Field{
		zap.String("pool", pool.Name()), zap.Int("queue", s.Queue),
		zap.String("hint", "set 'queue' to the runs of one second at least, or 'reject_hold 1s' in the route; 'queue 0' alone is for clients that do not retry"),
	}
	if want > 0 {
		fields = append(fields, zap.Int("runs_in_a_second", want))
	}
	logger.Warn("queue has fewer places than runs that end in a second: rejected clients come back together at whole seconds (Retry-After), and the pool idles in between", fields...)
}

// Start applies the settings if this is the first configuration. If there is another one,
// it continues when an app that starts later fails, so its settings must not change before
// all apps have started: the event "started" then applies the new ones.
func (a *App) Start() error {
	a.generation.Link(a.findSpots)
	if a.unbalanced != nil {
		return a.unbalanced
	}
	if err := a.jobs.Open(); err != nil {
		return err
	}
	if a.process.BudgetLeases.None() {
		return a.commit()
	}
	return nil
}

// findSpots returns the spots of the configuration.
func (a *App) findSpots() []pools.Spot {
	module, err := a.listener.Ctx.AppIfConfigured("http")
	if err != nil || module == nil {
		return nil
	}
	l := layoutOf(module.(*caddyhttp.App))
	a.unbalanced = a.balance(l)
	return l.spots
}

// Handle is called when all apps of this configuration have started, and when the
// configuration begins to stop. It ignores events of these names that other modules emit.
func (a *App) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() != nil {
		return nil
	}
	if e.Name() == "stopping" {
		a.stopping()
		return nil
	}
	// Start must not do this, since the events app may still be taking subscriptions then.
	if a.listening == nil {
		a.listening = a.process.Pools.Events.Listeners.Start(a.listener)
	}
	return a.commit()
}

// balance checks that runs of pools with upstream_concurrency are bound to upstreams, and
// makes the upstreams known to their pools.
func (a *App) balance(l layout) error {
	bound := make(map[*reverseproxy.Handler]bool)
	for _, name := range slices.Sorted(maps.Keys(a.claims)) {
		c := a.claims[name]
		if limits := c.config.UpstreamConcurrency; limits == nil || limits.Off {
			continue
		}
		if err := c.balance(l.behind[c.pool], bound); err != nil {
			return fmt.Errorf("pool '%s' has upstream_concurrency, and %w", name, err)
		}
	}
	var unbound []string
	for _, h := range l.proxies {
		if text := strings.Join(upstreams(h), " "); policyOf(h) != nil && !bound[h] && !slices.Contains(unbound, text) {
			unbound = append(unbound, text)
		}
	}
	for _, text := range unbound {
		pools.Logger().Warn("no pool in front of lb_policy offload has upstream_concurrency: it balances by the number of requests only",
			zap.String("upstreams", text), zap.String("hint", "write 'upstream_concurrency' in the pool in front of it"))
	}
	return nil
}

// balance returns an error if no proxy binds the runs of the pool. It notes those that do.
func (c *claim) balance(proxies []*reverseproxy.Handler, bound map[*reverseproxy.Handler]bool) error {
	var known, others []string
	dynamic := false
	for _, h := range proxies {
		policy := policyOf(h)
		if policy == nil {
			others = append(others, strings.Join(upstreams(h), " "))
			continue
		}
		bound[h] = true
		known = append(known, upstreams(h)...)
		dynamic = dynamic || h.DynamicUpstreams != nil
		if h.DynamicUpstreams == nil {
			policy.Announce(c.pool, h.Upstreams)
		}
	}
	for _, text := range slices.Compact(others) {
		if len(known) == 0 {
			return fmt.Errorf("the reverse_proxy to %s behind it has another load balancing policy: write 'lb_policy offload' in its block", text)
		}
		// It may serve requests only that the pool never gets.
		c.pool.Logger().Warn("a reverse_proxy behind a pool with upstream_concurrency has another load balancing policy: it does not limit requests to its upstreams",
			zap.String("upstreams", text), zap.String("hint", "write 'lb_policy offload' in its block"))
	}
	if !dynamic && len(known) > 0 && !slices.ContainsFunc(known, optionvalue.HasPlaceholder) {
		c.warnOfAddresses(known)
	}
	return nil
}

// warnOfAddresses logs the addresses with numbers that no proxy has.
func (c *claim) warnOfAddresses(known []string) {
	for _, address := range slices.Sorted(maps.Keys(c.config.UpstreamConcurrency.Of)) {
		if !slices.Contains(known, address) {
			c.pool.Logger().Warn("upstream_concurrency has an address that no reverse_proxy behind the pool has",
				zap.String("address", address), zap.String("known", strings.Join(slices.Compact(slices.Sorted(slices.Values(known))), " ")))
		}
	}
}

// stopping is called when Caddy begins to stop the configuration. On a reload it does
// nothing, since the next configuration has the same pools. During a shutdown delay the
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
		time.AfterFunc(delay, func() { a.process.Exit.Begin(a.process.Pools) })
		return
	}
	a.process.Exit.Begin(a.process.Pools)
}

// commit applies this configuration's settings, once.
func (a *App) commit() error {
	if a.budget != nil {
		return nil
	}
	a.budget = a.process.BudgetLeases.Start(a.limits)
	a.generation.Rule()
	a.explained = a.process.ExplainLeases.Start(optionvalue.OrDefault(a.Explain, requests.DefaultExplain))
	spool.Sweep(a.limits.Dir)
	state.WarnOfFolder(a.limits.Dir)
	for name, c := range a.claims {
		settings, err := c.inForce()
		if err != nil {
			return fmt.Errorf("pool '%s': %w", name, err)
		}
		c.lease = c.pool.Leases.Start(settings)
		c.pool.SetShadow(c.shadow)
	}
	a.jobs.Bind(a.process.Exit.Context)
	return nil
}

// Stop does nothing: requests are still being served.
func (a *App) Stop() error { return nil }

// Cleanup releases the pools. Requests that are in a pool still finish there.
func (a *App) Cleanup() error {
	a.listening.End()
	a.listening = nil
	a.budget.End()
	a.budget = nil
	a.explained.End()
	a.explained = nil
	a.generation.End()
	errs := []error{a.jobs.Close()}
	for name, c := range a.claims {
		c.lease.End()
		_, err := a.process.Pools.Named.Delete(name)
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

// loadJobs loads the guest of the app, unless that was done before.
func (a *App) loadJobs() error { return a.jobs.LoadApp(a.listener.Ctx, a.Jobs) }

// inForce returns the settings of the pool in this configuration.
func (c *claim) inForce() (offloader.Settings, error) {
	s, err := c.config.settings(c.longestRun)
	if c.jobs {
		s = claims.WithJobs(s)
	}
	return s, err
}
