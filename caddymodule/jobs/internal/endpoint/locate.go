package endpoint

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Prefixes returns the paths, as clients see them, under which a server has jobs, each once
// and in the order of its routes.
func Prefixes(server *caddyhttp.Server) []string {
	if server == nil {
		return nil
	}
	w := walk{named: server.NamedRoutes}
	w.routes(server.Routes)
	return w.found
}

// walk visits the routes of a server.
type walk struct {
	named  map[string]*caddyhttp.Route
	inside []string // names of routes that it is in
	found  []string
}

func (w *walk) routes(list caddyhttp.RouteList) {
	for _, route := range list {
		for _, handler := range route.Handlers {
			w.handler(handler)
		}
	}
}

func (w *walk) handler(handler caddyhttp.MiddlewareHandler) {
	switch h := handler.(type) {
	case *Handler:
		if h.Prefix != "" && !slices.Contains(w.found, h.Prefix) {
			w.found = append(w.found, h.Prefix)
		}
	case *caddyhttp.Subroute:
		w.routes(h.Routes)
	case *caddyhttp.Invoke:
		route := w.named[h.Name]
		if route == nil || slices.Contains(w.inside, h.Name) {
			return
		}
		w.inside = append(w.inside, h.Name)
		w.routes(caddyhttp.RouteList{*route})
		w.inside = w.inside[:len(w.inside)-1]
	}
}
