package caddymodule

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
)

// rewireOnce calls rewire for the first offload of a configuration.
func (a *App) rewireOnce(ctx caddy.Context) {
	if !a.rewired {
		a.rewired = true
		rewire(ctx)
	}
}

// rewire wraps the transport of each reverse_proxy in [Transport], if the reverse_proxy is
// provisioned after the first offload of a configuration, as those behind an offload are.
// It also puts a handler in front of error routes.
//
// It changes configuration that is still JSON. Once reverse_proxy is provisioned, its
// transport can no longer be exchanged: active health checks read it from then on, and the
// HTTP app may be serving before this app starts.
func rewire(ctx caddy.Context) {
	for _, module := range ctx.Modules() {
		switch m := module.(type) {
		case *caddyhttp.App:
			for _, server := range m.Servers {
				rewireServer(server)
			}
		case *caddyhttp.Subroute:
			rewireRoutes(m.Routes)
			if m.Errors != nil {
				rewireRoutes(m.Errors.Routes)
			}
		case *reverseproxy.Handler:
			rewireResponses(m.HandleResponse)
		case *intercept.Intercept:
			rewireResponses(m.HandleResponse)
		}
	}
}

func rewireServer(s *caddyhttp.Server) {
	if s.Errors != nil {
		rewireRoutes(s.Errors.Routes)
		s.Errors.Routes = rewireErrors(s)
	}
	rewireRoutes(s.Routes)
	for _, route := range s.NamedRoutes {
		rewireRoutes(caddyhttp.RouteList{*route}) // they share the handlers' texts
	}
}

// rewireErrors puts a handler in front of the error routes of a server, which may answer
// requests that offload has rejected. If the server's handlers are provisioned already, it
// is too late for that.
func rewireErrors(s *caddyhttp.Server) caddyhttp.RouteList {
	routes := s.Errors.Routes
	isText := func(route caddyhttp.Route) bool { return route.HandlersRaw != nil }
	if len(routes) == 0 || !slices.ContainsFunc(s.Routes, isText) {
		return routes
	}
	front := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{answers.ErrorRoutes{}}}
	return slices.Insert(routes, 0, front)
}

func rewireResponses(handlers []caddyhttp.ResponseHandler) {
	for _, h := range handlers {
		rewireRoutes(h.Routes)
	}
}

func rewireRoutes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for i, text := range route.HandlersRaw {
			route.HandlersRaw[i] = rewireText(text)
		}
	}
}

// rewireText changes the JSON of a handler and of all handlers within it.
func rewireText(text json.RawMessage) json.RawMessage {
	if !bytes.Contains(text, []byte(`reverse_proxy`)) {
		return text
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil || !rewireValue(value) {
		return text // its module returns the error when it is provisioned
	}
	changed, err := json.Marshal(value)
	if err != nil {
		return text // cannot happen: it came from JSON
	}
	return changed
}

// rewireValue reports whether it has changed anything.
func rewireValue(value any) (changed bool) {
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			changed = rewireValue(inner) || changed
		}
		if v["handler"] == "reverse_proxy" {
			changed = rewireProxy(v) || changed
		}
	case []any:
		for _, inner := range v {
			changed = rewireValue(inner) || changed
		}
	}
	return changed
}

func rewireProxy(proxy map[string]any) bool {
	transport := map[string]any{"protocol": "offload"}
	if own, ok := proxy["transport"]; ok && own != nil {
		if m, ok := own.(map[string]any); ok && m["protocol"] == "offload" {
			return false
		}
		transport["transport"] = own
	}
	proxy["transport"] = transport
	return true
}
