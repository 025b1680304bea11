// Package caddymodule plugs the engine of package offloader into Caddy: the app
// "offload" with the named pools, the handler "http.handlers.offload" that puts
// requests under a pool's admission, their directives in the Caddyfile, the part of
// the admin endpoint that shows and controls pools, and the command "caddy offload".
//
// It holds the parts that belong to Caddy or HTTP. The behaviour of pools is in package
// offloader, that of response writers in internal/bridge.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(admin.AdminAPI{})
	caddy.RegisterModule(Transport{})
	httpcaddyfile.RegisterGlobalOption("offload", parseApp)
	httpcaddyfile.RegisterDirective("offload", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("offload", httpcaddyfile.Before, "invoke")
}
