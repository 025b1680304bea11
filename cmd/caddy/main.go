// Command caddy is Caddy with all modules of this project, built with plain
// `go build` and without a network once the modules are on the machine.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
)

func main() { caddycmd.Main() }
