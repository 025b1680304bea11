package main

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dunglas/mercure"
)

// hub is Mercure's hub, set up as in its own plugin for Caddy. A request to /publish sends
// an update to all subscribers of the topic "lab".
type hub struct {
	transport *mercure.LocalTransport
	hub       *mercure.Hub
}

func init() {
	caddy.RegisterModule(hub{})
	httpcaddyfile.RegisterHandlerDirective("hub", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(hub), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("hub", httpcaddyfile.After, "encode")
}

func (hub) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.hub", New: func() caddy.Module { return new(hub) }}
}

func (h *hub) Provision(caddy.Context) (err error) {
	h.transport = mercure.NewLocalTransport()
	h.hub, err = mercure.NewHub(mercure.WithAnonymous(), mercure.WithTransport(h.transport),
		mercure.WithPublisherJWT([]byte("of the lab alone"), "HS256"), mercure.WithSubscriberJWT([]byte("of the lab alone"), "HS256"))
	return err
}

func (h *hub) Cleanup() error { return h.hub.Stop() }

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch {
	case r.URL.Path == "/publish":
		w.WriteHeader(http.StatusNoContent)
		return h.transport.Dispatch(&mercure.Update{Topics: []string{"lab"}, Event: mercure.Event{ID: "1", Data: "an update"}})
	case strings.HasPrefix(r.URL.Path, "/.well-known/mercure"):
		h.hub.ServeHTTP(w, r)
		return nil
	}
	return next.ServeHTTP(w, r)
}
