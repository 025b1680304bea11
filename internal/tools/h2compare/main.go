// Command h2compare plays the conformance cases of h2spec against sites of the
// project's own Caddy that differ in one thing, whether offload stands before the
// reverse proxy, over TLS and in the clear. It prints how many cases passed and
// fails if one fails with offload that passes without.
//
//	go run ./internal/tools/h2compare -caddy bin/caddy -h2spec bin/h2spec
package main

import "github.com/caddy-offload/caddy-offload/internal/tools/conformance"

func main() { conformance.Main("h2compare", "h2spec", suite()) }
