// Command blocking is plain Caddy with the handler of package block.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/bench/internal/caddy/block"
)

func main() { caddycmd.Main() }
