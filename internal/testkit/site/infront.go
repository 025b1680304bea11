package site

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// inFront is a handler for the test's own code in front of others. It is the directive
// "infront <name>".
type inFront struct {
	Name string `json:"name,omitempty"`
}

// InFront is what such a handler does.
type InFront func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error

var inFrontFuncs = map[string]InFront{}

func init() {
	caddy.RegisterModule(inFront{})
	httpcaddyfile.RegisterHandlerDirective("infront", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		f := new(inFront)
		return f, f.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("infront", httpcaddyfile.Before, "rewrite")
}

func (inFront) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.infront", New: func() caddy.Module { return new(inFront) }}
}

func (f *inFront) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&f.Name) {
		return d.ArgErr()
	}
	return nil
}

func (f *inFront) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return inFrontFuncs[f.Name](w, r, next)
}

// HandleInFront makes f the handler "infront <test's name>" and returns that.
func HandleInFront(t testing.TB, f InFront) string {
	inFrontFuncs[t.Name()] = f
	t.Cleanup(func() { delete(inFrontFuncs, t.Name()) })
	return "infront " + t.Name()
}
