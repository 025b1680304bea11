package jobs

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobmetrics"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// App holds the settings of the store, which all routes with jobs share.
type App struct {
	AppConfig

	ctx    caddy.Context
	logger *zap.Logger
	folder string
	lease  *store.Lease[*store.Store] // from Open to Close, else nil
	ready  chan struct{}              // closed by Open
	opened *store.Store               // written before ready is closed: requests may go on after Close
	unbind []func()

	mu     sync.Mutex
	routes map[string]*Route // by name; guarded by mu
}

// Times that limit the opening and closing of stores.
const (
	// openTime is how long a store may take to open, with the end of its last use.
	openTime = 30 * time.Second
	// drainTime is how long attempts may go on in a store that is closed, unless Caddy has
	// a grace period.
	drainTime = 10 * time.Second
)

// CaddyModule describes the module.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: jobhost.AppModule, New: func() caddy.Module { return new(App) }}
}

// Provision checks the settings. It opens nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger, a.routes, a.ready = ctx, ctx.Logger(), make(map[string]*Route), make(chan struct{})
	if err := a.check(); err != nil {
		return err
	}
	if err := ctx.GetMetricsRegistry().Register(jobmetrics.Collector{Numbers: numbers}); err != nil {
		return fmt.Errorf("registering the metrics of jobs: %w", err)
	}
	a.folder = a.Store
	if a.folder == "" {
		a.folder = filepath.Join(caddy.AppDataDir(), "offload", "jobs")
	}
	var err error
	if a.folder, err = filepath.Abs(a.folder); err != nil {
		return fmt.Errorf("the folder of the store of jobs: %w", err)
	}
	return nil
}

// add adds a route. Copies of a route count as one.
func (a *App) add(r *Route) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.routes[r.host.Name()] == nil {
		a.routes[r.host.Name()] = r
	}
}

// Open opens the store, or shares it with the configuration that runs.
func (a *App) Open() (err error) {
	defer close(a.ready)
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	a.lease, err = store.Take(ctx, store.Opening{
		Folder: a.folder, Options: a.options(),
		Engine: func(ctx context.Context) (jobs.Engine, error) { return a.openEngine(ctx) },
		Close:  a.closeStore,
	})
	if err != nil {
		return err
	}
	a.opened = a.lease.Value()
	if _, err := a.opened.Service(); err != nil {
		a.logger.Error("the store of jobs is damaged: requests are served, and no jobs accepted",
			zap.String("folder", a.folder), zap.Error(err))
	}
	return a.openHooks()
}

// openHooks opens the webhooks of the routes.
func (a *App) openHooks() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, r := range a.routes {
		if err := r.openHook(); err != nil {
			return fmt.Errorf("jobs '%s': %w", name, err)
		}
	}
	return nil
}

// service returns the service, or why there is none. A server may have requests before this
// app is opened, since Caddy starts apps in any order: they wait for that.
func (a *App) service() (*jobs.Service, error) {
	select {
	case <-a.ready:
		return a.opened.Service()
	default: // not yet, so that a timer is needed
	}
	select {
	case <-a.ready:
		return a.opened.Service()
	case <-time.After(openTime):
		return nil, jobs.ErrStopping // another app did not start
	}
}

// options returns the options of the service.
func (a *App) options() jobs.Options {
	return jobs.Options{Limits: a.limits(), Observer: observer, Deliver: hooks.Deliver}
}

// Bind makes the routes run the jobs of the store.
func (a *App) Bind() {
	s := a.opened
	store.Rule(s)
	service, err := s.Service()
	if err != nil {
		return // logged by Open
	}
	service.Configure(a.options())
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, r := range a.routes {
		s.SetOwner(name, r.owner)
		r.location() // so that a missing directive is logged now
		if r.hook != nil {
			a.unbind = append(a.unbind, hooks.Bind(name, r.hook))
		}
		a.unbind = append(a.unbind, service.Bind(name, r, jobs.RouteLimits{Concurrency: r.Concurrency}))
	}
}

// Drain begins to end the store, with all attempts, because the process exits.
func (a *App) Drain() {
	if a.lease != nil {
		go a.closeStore(a.opened)
	}
}

// closeStore ends a store that has no further use. Attempts may go on for the grace period.
func (a *App) closeStore(s *store.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), a.grace())
	defer cancel()
	if err := s.Close(ctx); err != nil {
		a.logger.Error("closing the store of jobs", zap.String("folder", s.Folder), zap.Error(err))
	}
}

// grace returns how long attempts may go on.
func (a *App) grace() time.Duration {
	module, err := a.ctx.AppIfConfigured("http")
	if err == nil && module != nil {
		if d := time.Duration(module.(*caddyhttp.App).GracePeriod); d > 0 {
			return d
		}
	}
	return drainTime
}

// Close undoes Open and Bind.
func (a *App) Close() error {
	if a.lease == nil {
		return nil
	}
	for _, unbind := range a.unbind {
		unbind()
	}
	if caddy.Exiting() {
		a.closeStore(a.opened)
	}
	a.lease.End()
	a.lease, a.unbind = nil, nil
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.routes {
		r.closeHook()
	}
	return nil
}

var (
	_ caddy.Provisioner = (*App)(nil)
	_ jobhost.AppParser = (*App)(nil)
)
