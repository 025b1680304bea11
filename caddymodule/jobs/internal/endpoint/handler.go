// Package endpoint has the directive "offload_jobs": where the clients of a site find their
// jobs, protected by the matchers and the authentication of the site. The answers are made
// in internal/resource.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/resource"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
)

// Handler serves the jobs of routes with `jobs` to the clients that have submitted them:
// their states, results and events, and the ways to cancel them, to run them again and to
// forget them. It answers every request that it gets. A client that knows the URL of a job
// may use it if it has the identity of the submission, see the option `owner` of `jobs`.
type Handler struct {
	// The path of all jobs as clients see it, such as `/jobs/`. Routes with jobs send it to
	// their clients. In a Caddyfile, the path of the matcher is the default.
	Prefix string `json:"prefix,omitempty"`

	// Whether clients can list their jobs. Default: they cannot.
	List bool `json:"list,omitempty"`

	// The answer to a request for the state of a job that has a complete response: the
	// state (`show`), or a redirect to the result (`redirect`). Default: `show`.
	OnDone string `json:"on_done,omitempty"`

	// The longest time that a client may prefer to wait for a change of a job. Default: 60s.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	// How long signed links to parts of a job are valid at most. -1 is off. Default: 5m.
	LinkLifetime caddy.Duration `json:"link_lifetime,omitempty"`

	// The secret of signed links, of 32 characters or more, with placeholders such as
	// `{env.LINK_SECRET}`. Default: a random one, which is kept in the folder of the store.
	LinkSecret string `json:"link_secret,omitempty"`

	// How many streams of events the jobs of a tenant may have at once. Default: 64.
	MaxEvents int `json:"max_events,omitempty"`

	// How many clients may follow the result of a job at once. Default: 16.
	MaxReaders int `json:"max_readers,omitempty"`

	// How many requests may wait for a change of a job at once. Default: 1,000.
	MaxWaits int `json:"max_waits,omitempty"`

	reports  *progress.Board
	resource *resource.Resource
	secret   []byte // nil: that of the store
}

// CaddyModule describes the module.
func (h Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.offload_jobs", New: func() caddy.Module { return &Handler{reports: h.reports} }}
}

// Values of the option on_done.
const (
	show     = "show"
	redirect = "redirect"
)

// Provision makes the resource, and listens for the end of the configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	h.Prefix = withSlash(h.Prefix)
	h.resource = resource.New(resource.Options{
		Store:        func() resource.Store { return h.current() },
		List:         h.List,
		Redirect:     h.OnDone == redirect,
		MaxWait:      time.Duration(optionvalue.OrDefault(h.MaxWait, caddy.Duration(resource.DefaultMaxWait))),
		LinkLifetime: time.Duration(optionvalue.OrDefault(h.LinkLifetime, caddy.Duration(resource.DefaultLinkLifetime))),
		Reports:      h.reports,
		Limits: resource.Limits{
			Events:  optionvalue.OrDefault(h.MaxEvents, resource.DefaultEvents),
			Readers: optionvalue.OrDefault(h.MaxReaders, resource.DefaultReaders),
			Waits:   optionvalue.OrDefault(h.MaxWaits, resource.DefaultWaits),
		},
	})
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	if err := events.(*caddyevents.App).On("stopping", h); err != nil {
		return fmt.Errorf("subscribing to 'stopping': %w", err)
	}
	return nil
}

// check returns the errors of a configuration, and reads the secret.
func (h *Handler) check() error {
	if h.LinkSecret != "" {
		text := caddy.NewReplacer().ReplaceKnown(h.LinkSecret, "")
		if len(text) < leastSecret {
			return fmt.Errorf("link_secret has %d characters, want %d or more", len(text), leastSecret)
		}
		h.secret = []byte(text)
	}
	switch {
	case h.OnDone != "" && h.OnDone != show && h.OnDone != redirect:
		return fmt.Errorf("unknown on_done '%s': want %s or %s", h.OnDone, show, redirect)
	case h.MaxWait < 0:
		return errors.New("max_wait must not be negative")
	case h.LinkLifetime < optionvalue.Off:
		return errors.New("link_lifetime must not be negative")
	case min(h.MaxEvents, h.MaxReaders, h.MaxWaits) < 0:
		return errors.New("max_events, max_readers and max_waits must not be negative")
	}
	return checkPrefix(h.Prefix)
}

func checkPrefix(path string) error {
	if path != "" && (!strings.HasPrefix(path, "/") || strings.ContainsAny(path, "*?# {}")) {
		return fmt.Errorf("bad prefix value '%s': want a path such as /jobs/, as clients see it", path)
	}
	return nil
}

// withSlash returns a path with a slash at its end. An empty one stays empty.
func withSlash(path string) string {
	if path == "" {
		return ""
	}
	return strings.TrimSuffix(path, "/") + "/"
}

// ServeHTTP answers the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	path := r.URL.EscapedPath()
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		path = original.URL.EscapedPath()
	}
	h.resource.Serve(w, r, path)
	return nil
}

// Handle ends the streams of events when the configuration begins to stop, so that the
// servers do not wait for them. The clients connect again, to the next configuration if
// there is one.
func (h *Handler) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() == nil {
		h.resource.Close()
	}
	return nil
}

// Cleanup ends the streams of a configuration that was never in force.
func (h *Handler) Cleanup() error {
	if h.resource != nil {
		h.resource.Close()
	}
	return nil
}

// stored is the store of the process as the resource sees it.
type stored struct {
	*store.Store
	given []byte // the secret of the configuration
}

func (h *Handler) current() stored { return stored{Store: store.Current(), given: h.secret} }

// Jobs returns the jobs of the store.
func (s stored) Jobs() (resource.Jobs, error) {
	service, err := s.Service()
	return service, err
}

// Owner returns the rule for the owners of the jobs of a route.
func (s stored) Owner(route string) owner.Rule {
	if s.Store == nil {
		return owner.Rule{}
	}
	return s.Store.Owner(route)
}

// Secret returns the key of signed links.
func (s stored) Secret() ([]byte, error) {
	if s.given != nil {
		return s.given, nil
	}
	return secretOf(s.Folder)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyevents.Handler         = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
