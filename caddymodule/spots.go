package caddymodule

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/balance"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// Backed is implemented by handlers behind "offload" that have backends, other than
// reverse_proxy. Backends returns names of these: if a route gives its pool another name,
// the new pool succeeds the old one in front of the same backends.
type Backed interface{ Backends() []string }

// spot is a handler that runs requests in a pool. It returns the pool, and the routes for
// rejected requests and for jobs.
type spot interface {
	spot() (pool *pools.Pool, rejects, jobs caddyhttp.RouteList)
}

// backing is what comes behind an "offload".
type backing struct {
	names   []string // of backends
	proxies []*reverseproxy.Handler
}

// layout is where a configuration has its handlers.
type layout struct {
	spots   []pools.Spot // in its order
	proxies []*reverseproxy.Handler
	behind  map[*pools.Pool][]*reverseproxy.Handler
}

// layoutOf finds all "offload" handlers of a configuration, and the proxies behind them.
func layoutOf(app *caddyhttp.App) layout {
	all := layout{behind: make(map[*pools.Pool][]*reverseproxy.Handler)}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		w := &spotWalk{server: strings.Join(server.Listen, " "), named: server.NamedRoutes, layout: &all}
		if server.Errors != nil {
			w.routes(server.Errors.Routes, backing{})
		}
		w.routes(server.Routes, backing{})
		slices.Reverse(w.found)
		all.spots = append(all.spots, w.found...)
	}
	return all
}

// spotWalk visits the routes of a server from the last to the first, so that it has always
// visited the handlers behind a route before.
type spotWalk struct {
	server string
	named  map[string]*caddyhttp.Route
	inside []string // names of routes that it is in
	found  []pools.Spot
	layout *layout
}

// routes returns the backends in a list of routes. behind are the backends after the list;
// those later in the list take precedence over them.
func (w *spotWalk) routes(list caddyhttp.RouteList, behind backing) (in backing) {
	for _, route := range slices.Backward(list) {
		after := orElse(in, behind)
		if route.Terminal {
			after = backing{}
		}
		in = join(w.handlers(route.Handlers, after), in)
	}
	return in
}

func (w *spotWalk) handlers(list []caddyhttp.MiddlewareHandler, behind backing) (in backing) {
	for _, handler := range slices.Backward(list) {
		in = join(w.handler(handler, orElse(in, behind)), in)
	}
	return in
}

func (w *spotWalk) handler(handler caddyhttp.MiddlewareHandler, behind backing) backing {
	switch h := handler.(type) {
	case spot:
		pool, rejects, jobs := h.spot()
		w.routes(rejects, backing{})
		ofJobs := w.routes(jobs, behind)
		w.found = append(w.found, pools.Spot{Pool: pool, Server: w.server, Backends: orElse(ofJobs, behind).names})
		w.layout.behind[pool] = slices.Concat(w.layout.behind[pool], behind.proxies, ofJobs.proxies)
	case *caddyhttp.Subroute:
		if h.Errors != nil {
			w.routes(h.Errors.Routes, backing{})
		}
		return w.routes(h.Routes, behind)
	case *caddyhttp.Invoke:
		route := w.named[h.Name]
		if route == nil || slices.Contains(w.inside, h.Name) {
			return backing{}
		}
		w.inside = append(w.inside, h.Name)
		defer func() { w.inside = w.inside[:len(w.inside)-1] }()
		return w.routes(caddyhttp.RouteList{*route}, behind)
	case *reverseproxy.Handler:
		return w.proxy(h, behind)
	case Backed:
		return backing{names: h.Backends()}
	}
	return backing{}
}

// proxy returns a reverse_proxy and its upstreams. A reverse_proxy with handle_response may
// only be asked for permission (forward_auth): then the handlers behind count.
func (w *spotWalk) proxy(h *reverseproxy.Handler, behind backing) backing {
	w.layout.proxies = append(w.layout.proxies, h)
	for _, response := range h.HandleResponse {
		w.routes(response.Routes, behind)
	}
	if len(h.HandleResponse) > 0 && len(behind.names) > 0 {
		return backing{}
	}
	return backing{upstreams(h), []*reverseproxy.Handler{h}}
}

func upstreams(h *reverseproxy.Handler) (all []string) {
	for _, upstream := range h.Upstreams {
		all = append(all, upstream.Dial)
	}
	if h.DynamicUpstreams != nil {
		if text, err := json.Marshal(h.DynamicUpstreams); err == nil {
			all = append(all, string(text))
		}
	}
	return all
}

func orElse(a, b backing) backing {
	if len(a.names) > 0 {
		return a
	}
	return b
}

func join(a, b backing) backing {
	return backing{slices.Concat(a.names, b.names), slices.Concat(a.proxies, b.proxies)}
}

// policyOf returns the policy "offload" of a proxy, nil if it has another one.
func policyOf(h *reverseproxy.Handler) *balance.Policy {
	policy, _ := h.LoadBalancing.SelectionPolicy.(*balance.Policy)
	return policy
}
