// Command wscompare plays the conformance cases of the Autobahn test suite for
// WebSockets against sites of the project's own Caddy that differ in one thing,
// whether offload stands before the reverse proxy. It prints how many cases passed
// and fails if one fails with offload that passes without. The cases of speed are
// left out.
//
//	go run ./internal/tools/wscompare -caddy bin/caddy -kosoku bin/kosoku
package main

import "github.com/caddy-offload/caddy-offload/internal/tools/conformance"

func main() { conformance.Main("wscompare", "kosoku", suite()) }
