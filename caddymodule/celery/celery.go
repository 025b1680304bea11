// Package celery provides the Caddy handler "http.handlers.celery", which runs a Celery task
// for each request and responds with its result. It is a separate plugin, because it links the
// clients of Redis and AMQP.
//
// Package offloader/celery defines the wire format. This package turns requests into tasks and
// results into responses.
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
