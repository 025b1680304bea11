// Package block is a handler of Caddy that blocks until its client has left, and
// does nothing else. A request that waits in Caddy cannot need less memory.
//
//	bench_block [matcher]
package block

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// directive is the name in Caddyfiles, and the last part of the module's ID.
const directive = "bench_block"

func init() {
	caddy.RegisterModule(Handler{})
	httpcaddyfile.RegisterHandlerDirective(directive, func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next() // the directive itself
		if h.NextArg() || h.NextBlock(0) {
			return nil, h.ArgErr()
		}
		return Handler{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "reverse_proxy")
}

// Handler blocks.
type Handler struct{}

// CaddyModule implements caddy.Module.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + directive, New: func() caddy.Module { return new(Handler) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (Handler) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	<-r.Context().Done()
	return nil
}

var _ caddyhttp.MiddlewareHandler = Handler{}
