package caddymodule_test

import (
	"net/http"
	"testing"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// catch is the directive "catch": it records panics of the handlers behind it.
type catch struct{}

var caughtPanics chan<- any

func init() {
	caddy.RegisterModule(catch{})
	httpcaddyfile.RegisterHandlerDirective("catch", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return catch{}, nil
	})
}

// catching sends the panics that "catch" records to c.
func catching(t *testing.T, c chan<- any) {
	caughtPanics = c
	t.Cleanup(func() { caughtPanics = nil })
}

func (catch) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.catch", New: func() caddy.Module { return new(catch) }}
}

func (catch) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer func() {
		if v := recover(); v != nil {
			caughtPanics <- v
		}
	}()
	return next.ServeHTTP(w, r)
}

func zapField(i int) zap.Field { return zap.Int("touched", i) }
