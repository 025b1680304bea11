package site

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// behind is a handler for the test's own code at the end of a route. It is the
// directive "behind <name>".
type behind struct {
	Name string `json:"name,omitempty"`
}

var behindFuncs = map[string]func(w http.ResponseWriter, r *http.Request) error{}

func init() {
	caddy.RegisterModule(behind{})
	httpcaddyfile.RegisterHandlerDirective("behind", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		b := new(behind)
		return b, b.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("behind", httpcaddyfile.Before, "respond")
}

func (behind) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.behind", New: func() caddy.Module { return new(behind) }}
}

func (b *behind) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&b.Name) {
		return d.ArgErr()
	}
	return nil
}

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return behindFuncs[b.Name](w, r)
}

// HandleBehind makes f the handler "behind <test's name>" and returns that.
func HandleBehind(t testing.TB, f func(w http.ResponseWriter, r *http.Request) error) string {
	behindFuncs[t.Name()] = f
	t.Cleanup(func() { delete(behindFuncs, t.Name()) })
	return "behind " + t.Name()
}
