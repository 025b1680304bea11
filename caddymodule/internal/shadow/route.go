// Package shadow serves the requests of a route with mode shadow: a pool decides about each
// request, but the request is let through at once in any case. So the pool's numbers show
// what the pool would do.
//
// For the pool an admitted request runs for as long as it really took. A request that has
// to wait is a virtual waiter on a separate goroutine. When it gets its permit, its virtual
// run begins; it ends as much later than the real one as the request has waited.
package shadow

import (
	"context"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Route is an "offload" with mode shadow. A zero duration is no limit.
type Route struct {
	Pool *pools.Pool
	// Exit is cancelled when the process exits.
	Exit context.Context
	// Ready is called before each request.
	Ready func()

	Claims           *claims.Rules // nil if requests claim nothing
	Deadline         deadline.Rule
	FirstByteTimeout time.Duration
	RunTimeout       time.Duration
	HoldUpgrades     bool
	RequestBounds    spool.Bounds
	Unspooled        requestbody.Kinds
}
