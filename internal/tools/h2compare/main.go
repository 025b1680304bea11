// Command h2compare runs the conformance cases of h2spec against pairs of sites
// of the project's own Caddy, over TLS and in the clear. The sites of a pair
// differ only in whether offload is in front of the reverse proxy. It prints the
// number of passed cases and fails if a case passes without offload and fails
// with it.
//
//	go run ./internal/tools/h2compare -caddy bin/caddy -h2spec bin/h2spec
package main

import "github.com/caddy-offload/caddy-offload/internal/tools/conformance"

func main() { conformance.Main("h2compare", "h2spec", suite()) }
