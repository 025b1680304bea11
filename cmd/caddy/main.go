// Command caddy is Caddy with everything of this project inside, built with
// plain `go build` and no network once the modules are on the machine.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/celery"
)

func main() { caddycmd.Main() }
