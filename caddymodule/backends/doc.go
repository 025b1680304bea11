// Package backends tests offload in front of real servers, each with the ways that
// clients, timeouts and operators end a request early: the requests inside a backend
// are counted there, and are never more than the pool's limit. Its tests are built with
// the tag "integration" only, since they need those servers:
//
//	.ci/backends
//	go test -tags=integration -parallel=10 ./caddymodule/backends
package backends
