// Package status has the directive "offload_status": a live page about the pools of the
// process, protected by the matchers and the authentication of its site. The page itself is
// in internal/statuspage.
package status

import (
	"context"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
)

// Handler serves a live page about the pools of the process: their running and waiting
// requests, times, breakers, histories, and the reasons of rejections. It answers every
// request that it gets, whatever the path, so put it behind a matcher, and behind
// authentication: the page shows the addresses and paths of clients.
type Handler struct {
	// Allows the actions of `caddy offload` on the page: to pause and drain pools, to
	// override settings, to force breakers and to cancel requests. Default: the page only
	// shows.
	Actions bool `json:"actions,omitempty"`

	hub  *statuspage.Hub
	page *statuspage.Page
}

// Module returns the handler's module, whose pages show a process. All pages share one
// collector of numbers.
func Module(p *state.Process) caddy.Module {
	return Handler{hub: statuspage.NewHub(statuspage.Local(p))}
}

// CaddyModule describes the module.
func (h Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.offload_status", New: func() caddy.Module { return &Handler{hub: h.hub} }}
}

// Provision makes the page, and listens for the end of the configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.page = statuspage.New(h.hub, statuspage.Options{
		Actions:     h.Actions,
		ActionsHint: "add 'actions' to the block of 'offload_status', or use 'caddy offload'",
		Acted:       acted,
	})
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	if err := events.(*caddyevents.App).On("stopping", h); err != nil {
		return fmt.Errorf("subscribing to 'stopping': %w", err)
	}
	return nil
}

// acted logs an action with its client and user.
func acted(r *http.Request, a statuspage.Action, err error) {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	user := ""
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		user, _ = repl.GetString("http.auth.user.id")
	}
	fields := []zap.Field{zap.String("action", a.String()), zap.String("pool", a.Pool), zap.String("client", client), zap.String("user", user)}
	if err != nil {
		pools.Logger().Warn("action on the status page failed", append(fields, zap.Error(err))...)
		return
	}
	pools.Logger().Info("operator acted on the status page", fields...)
}

// ServeHTTP answers with the page.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	return h.page.ServeHTTP(w, r)
}

// Handle ends the streams when the configuration begins to stop, so that the servers do not
// wait for them. The viewers connect again, to the next configuration if there is one.
func (h *Handler) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() == nil {
		h.page.Close()
	}
	return nil
}

// Cleanup ends the streams of a configuration that was never in force.
func (h *Handler) Cleanup() error {
	if h.page != nil {
		h.page.Close()
	}
	return nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyevents.Handler         = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
