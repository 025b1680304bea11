// Command nocelery is cmd/caddy without the modules of Celery, which link the
// clients of its brokers.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
)

func main() { caddycmd.Main() }
