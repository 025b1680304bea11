// Package caddymodule plugs the engine of package offloader into Caddy: the app
// "offload" with the named pools, the handler "http.handlers.offload" that puts
// requests under a pool's admission, the handler "http.handlers.offload_status" with the
// live page, their directives in the Caddyfile, the part of the admin endpoint that shows
// and controls pools, and the command "caddy offload".
//
// The package holds the parts that belong to Caddy or HTTP. The behaviour of pools is in
// package offloader, that of response writers in internal/bridge.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/balance"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/internal/ready" // plugged in
	"github.com/caddy-offload/caddy-offload/caddymodule/status"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(admin.AdminAPI{Process: process})
	caddy.RegisterModule(Transport{})
	caddy.RegisterModule(balance.Policy{})
	caddy.RegisterModule(balance.Least{})
	caddy.RegisterModule(status.Module(process))
	caddy.OnExit(process.Exit.Summarize)
	httpcaddyfile.RegisterGlobalOption("offload", parseApp)
	// In front of "offload", so that the page takes no permit of a pool: a directive that
	// is registered later comes closer to "invoke".
	httpcaddyfile.RegisterHandlerDirective("offload_status", status.Parse)
	httpcaddyfile.RegisterDirectiveOrder("offload_status", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterDirective("offload", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("offload", httpcaddyfile.Before, "invoke")
}
