package site

import (
	"net/http"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// handler runs the test's own code: at the end of a route as the directive "behind
// <name>", in front of others as "infront <name>".
type handler struct {
	Name string `json:"name,omitempty"` // the directive and its argument
}

// InFront is the function of a handler in front of others.
type InFront func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error

// handlerFuncs has an InFront for each handler. A handler may outlive the request of a test.
var handlerFuncs sync.Map

func init() {
	caddy.RegisterModule(handler{})
	for directive, before := range map[string]string{"behind": "respond", "infront": "rewrite"} {
		httpcaddyfile.RegisterHandlerDirective(directive, parseHandler)
		httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, before)
	}
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	own := new(handler)
	return own, own.UnmarshalCaddyfile(h.Dispenser)
}

func (handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.own", New: func() caddy.Module { return new(handler) }}
}

func (h *handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	directive, name := d.Val(), ""
	if !d.AllArgs(&name) {
		return d.ArgErr()
	}
	h.Name = directive + " " + name
	return nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	f, _ := handlerFuncs.Load(h.Name)
	return f.(InFront)(w, r, next)
}

// HandleBehind registers f as the handler "behind <test's name>" and returns that
// directive.
func HandleBehind(t testing.TB, f func(w http.ResponseWriter, r *http.Request) error) string {
	return handle(t, "behind", func(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error { return f(w, r) })
}

// HandleInFront registers f as the handler "infront <test's name>" and returns that
// directive.
func HandleInFront(t testing.TB, f InFront) string { return handle(t, "infront", f) }

func handle(t testing.TB, directive string, f InFront) string {
	name := directive + " " + t.Name()
	handlerFuncs.Store(name, f)
	t.Cleanup(func() { handlerFuncs.Delete(name) })
	return name
}
