package jobroute

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// Place is where a route with jobs is.
type Place struct {
	Route  *serving.Route
	Server *caddyhttp.Server
	// Name of the pool, empty if it has no configured name.
	Pool string
	// Text of the whole handler, by which copies of one route are recognized.
	Text []byte
}

// LoadRoute loads the guest of a route with its JSON. The guest of the app must be loaded.
func (g *Guests) LoadRoute(ctx caddy.Context, jobs json.RawMessage, at Place) (jobhost.Route, error) {
	name, err := NameOf(jobs)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = at.Pool
	}
	text := canonical(at.Text)
	switch other, taken := g.routes[name]; {
	case name == "":
		return nil, errors.New("jobs need a name, by which they find their route after a reload: set 'name' of the route, or of 'jobs'")
	case taken && other != text:
		return nil, fmt.Errorf("jobs of two routes have the name '%s': set another 'name' of 'jobs' in one of them", name)
	}
	guest, err := load[jobhost.Route](ctx, jobhost.RouteModule, jobs)
	if err != nil {
		return nil, err
	}
	if err := guest.Attach(&host{place: at, name: name, app: g.app}); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	if g.routes == nil {
		g.routes = make(map[string]string)
	}
	g.routes[name] = text
	return guest, nil
}

// canonical returns JSON with its fields in order.
func canonical(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return string(text) // cannot happen: it was made of a handler
	}
	ordered, _ := json.Marshal(value)
	return string(ordered)
}

// host is the host of one route.
type host struct {
	place Place
	name  string
	app   jobhost.App
}

func (h *host) App() jobhost.App           { return h.app }
func (h *host) Name() string               { return h.name }
func (h *host) Pool() string               { return h.place.Route.Pool.Name() }
func (h *host) Key(r *http.Request) string { return h.place.Route.KeyOf(r) }
func (h *host) Logger() *zap.Logger        { return h.place.Route.Logger }
func (h *host) Server() *caddyhttp.Server  { return h.place.Server }

func (h *host) Run(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, o jobhost.Options) jobhost.Result {
	return h.place.Route.RunJob(w, r, next, o)
}

var _ jobhost.Host = (*host)(nil)
