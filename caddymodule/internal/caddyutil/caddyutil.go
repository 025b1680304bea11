// Package caddyutil holds facts about Caddy that several handlers need and Caddy does not
// export.
package caddyutil

import (
	"net/http"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// StatusClientLeft is the status in logs for a request whose client has left. nginx has
// introduced it, and reverse_proxy uses it.
const StatusClientLeft = 499

// HasErrorRoutes reports whether the request's server has handle_errors.
func HasErrorRoutes(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server != nil && server.Errors != nil && len(server.Errors.Routes) > 0
}

// Propagator returns the trace propagator of Caddy's tracing handler, which is created from
// the environment and not exported.
var Propagator = sync.OnceValue(func() propagation.TextMapPropagator { return autoprop.NewTextMapPropagator() })
