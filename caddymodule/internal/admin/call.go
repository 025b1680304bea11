package admin

import (
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
)

// adminCall is one request to the endpoints of the core.
type adminCall struct {
	adminroute.Call
	process *state.Process
}
