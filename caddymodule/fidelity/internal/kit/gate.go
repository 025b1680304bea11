package kit

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// gate is the directive "gate": it counts the requests that have arrived and are not
// answered, in any phase.
type gate struct{}

// InGate counts the requests in all gates.
var InGate site.Counter

func init() {
	caddy.RegisterModule(gate{})
	httpcaddyfile.RegisterHandlerDirective("gate", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return gate{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("gate", httpcaddyfile.Before, "tracing")
}

func (gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gate", New: func() caddy.Module { return new(gate) }}
}

func (gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	InGate.Enter()
	defer InGate.Leave()
	return next.ServeHTTP(w, r)
}

// Idle waits until a site's pool has no request but the one that asks. The site answers
// /state with the number of requests in its pool.
func Idle(t *testing.T, s *site.Site) {
	t.Helper()
	c := s.Clients()["h1"]
	testkit.Eventually(t, func() bool {
		res, body := site.Get(t, c, "https://"+s.Addr+"/state")
		return res.StatusCode == 200 && body == "1"
	})
}

// StateRoute has the directive "gate", which counts requests, and answers /state with the
// number of requests in the pool.
const StateRoute = `
	gate
	respond /state "{http.offload.in_flight}"
	`

// patience limits waits that become long only if the test fails.
const patience = 10 * time.Second

// soon is the time limit for calls that take no time themselves, but carry megabytes on a
// busy machine.
const soon = 30 * time.Second

// Soon is a context for such calls.
func Soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}
