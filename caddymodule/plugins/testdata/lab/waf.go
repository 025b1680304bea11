package main

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/corazawaf/coraza/v3"
	txhttp "github.com/corazawaf/coraza/v3/http"
)

// waf is Coraza, with its own interceptor of responses, as its plugin for Caddy uses it. It
// reads the bodies of requests and responses.
type waf struct{ waf coraza.WAF }

const wafRules = `
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 4194304
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html application/octet-stream
SecResponseBodyLimit 4194304
SecRule REQUEST_URI "@contains forbidden" "id:1,phase:1,deny,status:403"
`

func init() {
	caddy.RegisterModule(waf{})
	httpcaddyfile.RegisterHandlerDirective("waf", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(waf), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("waf", httpcaddyfile.Before, "rewrite")
}

func (waf) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.waf", New: func() caddy.Module { return new(waf) }}
}

func (f *waf) Provision(caddy.Context) (err error) {
	f.waf, err = coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(wafRules))
	return err
}

func (f *waf) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	txhttp.WrapHandler(f.waf, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = next.ServeHTTP(w, r)
	})).ServeHTTP(w, r)
	return err
}
