package status

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// Parse reads the directive:
//
//	offload_status [<matcher>] {
//		actions
//	}
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := h.Dispenser
	d.Next() // directive
	if d.NextArg() {
		return nil, d.Errf("unexpected '%s': offload_status takes a matcher only, such as /status*", d.Val())
	}
	handler := new(Handler)
	b := caddyfileblock.New(d)
	err := b.Each(0, func() error {
		if b.Option != "actions" {
			return d.Errf("unrecognized subdirective '%s' of offload_status%s", b.Option, suggest.DidYouMean(": ", b.Option, []string{"actions"}))
		}
		handler.Actions = true
		return b.Flag()
	})
	return handler, err
}
