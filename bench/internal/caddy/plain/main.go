// Command plain is Caddy with its standard modules alone, in the version that
// this module uses: what users have before they add offload.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
