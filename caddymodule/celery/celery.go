// Package celery plugs Celery into Caddy: the handler "http.handlers.celery" runs
// a task for each request and answers with its result. It is a plugin of its own,
// since it links the clients of Redis and AMQP.
//
// What goes over the wire is decided in package offloader/celery. Here requests
// become tasks, and results become responses.
package celery

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(Handler{})
	httpcaddyfile.RegisterHandlerDirective("celery", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("celery", httpcaddyfile.Before, "respond")
}
