package caddymodule

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// Backed is for handlers behind "offload" other than reverse_proxy. Backends returns names
// of their backends: if a route gives its pool another name, the new pool succeeds the old
// one in front of the same backends.
type Backed interface{ Backends() []string }

// findSpots returns the spots of the configuration.
func (a *App) findSpots() []pools.Spot {
	module, err := a.listener.Ctx.AppIfConfigured("http")
	if err != nil || module == nil {
		return nil
	}
	return spotsOf(module.(*caddyhttp.App))
}

// spotsOf finds all spots of a configuration, in its order.
func spotsOf(app *caddyhttp.App) []pools.Spot {
	var all []pools.Spot
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		w := &spotWalk{server: strings.Join(server.Listen, " "), named: server.NamedRoutes}
		if server.Errors != nil {
			w.routes(server.Errors.Routes, nil)
		}
		w.routes(server.Routes, nil)
		slices.Reverse(w.found)
		all = append(all, w.found...)
	}
	return all
}

// spotWalk visits the routes of a server from the last to the first, so that it has
// visited the handlers behind each.
type spotWalk struct {
	server string
	named  map[string]*caddyhttp.Route
	inside []string // names of routes that it is in
	found  []pools.Spot
}

// routes returns the backends in a list of routes. behind are those after the list;
// backends later in the list take precedence over them.
func (w *spotWalk) routes(list caddyhttp.RouteList, behind []string) (in []string) {
	for _, route := range slices.Backward(list) {
		after := orElse(in, behind)
		if route.Terminal {
			after = nil
		}
		in = join(w.handlers(route.Handlers, after), in)
	}
	return in
}

func (w *spotWalk) handlers(list []caddyhttp.MiddlewareHandler, behind []string) (in []string) {
	for _, handler := range slices.Backward(list) {
		in = join(w.handler(handler, orElse(in, behind)), in)
	}
	return in
}

func (w *spotWalk) handler(handler caddyhttp.MiddlewareHandler, behind []string) []string {
	switch h := handler.(type) {
	case *Handler:
		w.routes(h.HandleReject, nil)
		w.found = append(w.found, pools.Spot{Pool: h.pool, Server: w.server, Backends: behind})
	case *caddyhttp.Subroute:
		if h.Errors != nil {
			w.routes(h.Errors.Routes, nil)
		}
		return w.routes(h.Routes, behind)
	case *caddyhttp.Invoke:
		route := w.named[h.Name]
		if route == nil || slices.Contains(w.inside, h.Name) {
			return nil
		}
		w.inside = append(w.inside, h.Name)
		defer func() { w.inside = w.inside[:len(w.inside)-1] }()
		return w.routes(caddyhttp.RouteList{*route}, behind)
	case *reverseproxy.Handler:
		return w.proxy(h, behind)
	case Backed:
		return h.Backends()
	}
	return nil
}

// proxy returns its upstreams. One with handle_response may only be asked for permission
// (forward_auth): then the handlers behind count.
func (w *spotWalk) proxy(h *reverseproxy.Handler, behind []string) []string {
	for _, response := range h.HandleResponse {
		w.routes(response.Routes, behind)
	}
	if len(h.HandleResponse) > 0 && len(behind) > 0 {
		return nil
	}
	return upstreams(h)
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

func orElse(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

func join(a, b []string) []string { return slices.Concat(a, b) }
