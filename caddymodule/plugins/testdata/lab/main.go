// Command lab is a Caddy with offload and the plugins that it is tested next to. It is a
// separate module, so that users of offload get none of them.
package main

import (
	_ "github.com/caddyserver/cache-handler"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/mholt/caddy-ratelimit"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
)

func main() { caddycmd.Main() }
