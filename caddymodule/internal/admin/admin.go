package admin

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
)

// AdminAPI is the part of Caddy's admin endpoint that shows and controls pools. It reads
// the state of the process, and never a configuration: a configuration that has failed to
// load leaves its admin modules behind.
type AdminAPI struct {
	Process *state.Process `json:"-"`
}

// CaddyModule describes the module.
func (a AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.offload", New: func() caddy.Module { return &AdminAPI{a.Process} }}
}

// Routes returns one route for all endpoints: names of pools can hold slashes, which only
// the escaped path distinguishes from separators.
func (a AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminroute.Prefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

// endpoints lists all endpoints, as docs/openapi.yaml describes them.
var endpoints = adminroute.Endpoints[*adminCall]{
	"pools":                 adminroute.Get(listPools),
	"pools/{name}":          {http.MethodGet: showPool, http.MethodPatch: overridePool},
	"pools/{name}/override": {http.MethodDelete: resetPool},
	"pools/{name}/breaker":  adminroute.Post(forceBreaker),
	"pools/{name}/pause":    adminroute.Post(pausePool),
	"pools/{name}/resume":   adminroute.Post(resumePool),
	"pools/{name}/drain":    adminroute.Post(drainPool),
	"pools/{name}/waiting":  adminroute.Get(listWaiting),
	"pools/{name}/running":  adminroute.Get(listRunning),
	"waiting":               adminroute.Get(listAllWaiting),
	"running":               adminroute.Get(listAllRunning),
	"requests/{id}/cancel":  adminroute.Post(cancelRequest),
	"explain":               adminroute.Get(listExplanations),
	"explain/{id}":          adminroute.Get(explainRequest),
	"spool":                 adminroute.Get(showSpool),
	"status":                adminroute.Get(showStatus),
}

func (a AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	return endpoints.Serve(w, r, func(c adminroute.Call) *adminCall { return &adminCall{c, a.Process} })
}

// Do performs a request to a path below /offload/ without a connection, as [adminroute.Do].
func (a AdminAPI) Do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return adminroute.Do(ctx, a.serve, method, path, body)
}

var _ caddy.AdminRouter = AdminAPI{}
