// Command wscompare runs the conformance cases of the Autobahn test suite for
// WebSockets against sites of the project's own Caddy that differ only in whether
// offload is in front of the reverse proxy. It prints the number of passed cases
// and fails if a case passes without offload and fails with it. The cases that
// measure speed are left out.
//
//	go run ./internal/tools/wscompare -caddy bin/caddy -kosoku bin/kosoku
package main

import "github.com/caddy-offload/caddy-offload/internal/tools/conformance"

func main() { conformance.Main("wscompare", "kosoku", suite()) }
